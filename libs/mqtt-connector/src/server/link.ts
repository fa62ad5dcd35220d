import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import type { WebSocketRequest } from '@orrery/core/http';
import { createWebSocketStream, type WebSocket } from 'ws';

/** What the packets of a connection come and go by. */
export interface Link {
  /** The bytes of MQTT. */
  readonly stream: Duplex;
  /** What they arrive by: the stream itself, or the socket below it. */
  readonly socket: Duplex;
  readonly secure: boolean;
  /** The encryption, unless a proxy does it. */
  readonly tls?: TLSSocket;
  /** The client is asked for a certificate, which it is not over WebSocket (manual 6.3.4.2). */
  readonly asksCertificate: boolean;
  /** `ip/port` (manual 5.5.3.2). */
  readonly remoteAddress: string;
  /** Host name that the client asked for, in lower case. */
  readonly hostName?: string;
}

/** What the manual calls `activity.security` (5.5.3.2). */
export interface Security {
  secured: boolean;
  protocol?: string;
  cipher?: string;
  clientCertAuthentication: boolean;
  sniHostname?: string;
}

const address = (ip: string | undefined, { remotePort }: Socket): string =>
  `${(ip ?? '').replace(/^::ffff:/, '')}/${remotePort ?? 0}`;

/** Host name of the handshake; undefined when there was none. */
const sniHostName = (socket: TLSSocket): string | undefined => {
  const { servername } = socket as TLSSocket & { servername?: string | false };
  return servername ? servername.toLowerCase() : undefined;
};

export function socketLink(socket: Socket): Link {
  const tls = socket instanceof TLSSocket ? socket : undefined;
  const hostName = tls && sniHostName(tls);
  return {
    stream: socket,
    socket,
    secure: tls !== undefined,
    ...(tls ? { tls } : {}),
    asksCertificate: tls !== undefined,
    remoteAddress: address(socket.remoteAddress, socket),
    ...(hostName === undefined ? {} : { hostName }),
  };
}

/** The request came encrypted, to here or to a trusted proxy. */
export function webSocketLink(webSocket: WebSocket, { socket, ip, hostName }: WebSocketRequest): Link {
  const tls = socket instanceof TLSSocket ? socket : undefined;
  return {
    stream: createWebSocketStream(webSocket, { allowHalfOpen: false }),
    socket,
    secure: true,
    ...(tls ? { tls } : {}),
    asksCertificate: false,
    remoteAddress: address(ip, socket),
    hostName: (tls && sniHostName(tls)) ?? hostName.toLowerCase(),
  };
}

/** What is known of the encryption; nothing more than that it is there when a proxy does it. */
export function securityOf({ secure: secured, tls }: Link): Omit<Security, 'clientCertAuthentication'> {
  if (!tls) return { secured };
  const sniHostname = sniHostName(tls);
  return {
    secured,
    protocol: tls.getProtocol() ?? 'unknown',
    cipher: tls.getCipher().standardName,
    ...(sniHostname === undefined ? {} : { sniHostname }),
  };
}
