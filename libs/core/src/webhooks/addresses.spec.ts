import { AllowList, isAllowedAddress } from './addresses.js';

const REFUSED = `
  0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 100.127.255.255 127.0.0.1 127.255.255.254
  168.63.129.16 169.254.0.1 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.8 192.0.0.192 192.0.2.1 192.88.99.1
  192.168.0.1 192.168.255.255 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1
  255.255.255.255
  127.1 0x7f.1 0x7f000001 2130706433 0177.0.0.1 8.8 08.8.8.8 256.8.8.8 localhost example.com 8.8.8.8:80 8.8.8.8/32
  ::1 :: fe80::1 fc00::1 fd00:ec2::254 ff02::1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 ::8.8.8.8 2002:7f00:1:: 64:ff9b::7f00:1
  2001::1 2001:db8::1 2606:4700::1111 [::1] fe80::1%eth0`;
const ALLOWED = `
  1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.1 100.63.255.255 100.128.0.1 126.255.255.255 128.0.0.1 169.253.255.255 169.255.0.1
  172.15.255.255 172.32.0.1 192.167.255.255 192.169.0.1 198.17.255.255 198.20.0.1 223.255.255.255`;
const listed = (text: string): string[] => text.trim().split(/\s+/);

describe('addresses that tenants may have called', () => {
  it('are public ones of IPv4', () => {
    for (const address of [...listed(REFUSED), '', ' 8.8.8.8', '8.8.8.8 ', '８.8.8.8'])
      expect([address, isAllowedAddress(address)]).toEqual([address, false]);
    for (const address of listed(ALLOWED)) expect([address, isAllowedAddress(address)]).toEqual([address, true]);
  });

  it('are extended by hosts and ranges of the operator, each with its port', () => {
    const allow = new AllowList(' Transformer.default:8080, 10.1.0.0/16:443 ,127.0.0.1:*,');
    const allows = (host: string, address: string, port: number): boolean => allow.allows(host, address, port);
    expect(allows('transformer.default', '10.9.9.9', 8080)).toBe(true);
    expect(allows('transformer.default', '10.9.9.9', 443)).toBe(false);
    expect(allows('other.default', '10.9.9.9', 8080)).toBe(false);
    expect(allows('other.default', '10.1.255.1', 443)).toBe(true);
    expect(allows('other.default', '10.2.0.1', 443)).toBe(false);
    expect(allows('other.default', '10.1.255.1', 80)).toBe(false);
    expect(allows('127.0.0.1', '127.0.0.1', 65_535)).toBe(true);
    expect(allows('::ffff:10.1.0.1', '::ffff:10.1.0.1', 443)).toBe(false);
    expect([allow.names('transformer.default'), allow.names('10.1.0.0')]).toEqual([true, false]);
    expect(new AllowList('').allows('127.0.0.1', '127.0.0.1', 80)).toBe(false);
  });

  it('are not extended by what cannot be understood, which is said with the name of the variable', () => {
    for (const entry of [
      'x',
      'x:',
      'x:0',
      'x:65536',
      ':80',
      '10.0.0.0/33:80',
      '10.0.0/8:80',
      '::1:80',
      '[::1]:80',
      'a b:80',
      '*:80',
    ])
      expect(() => new AllowList(`localhost:80,${entry}`)).toThrow(
        `ORRERY_WEBHOOK_ALLOW: "${entry}" is not usable; expected host:port or cidr:port`,
      );
  });
});
