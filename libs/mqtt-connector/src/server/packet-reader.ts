import mqtt from 'mqtt-packet';
import type { Packet, Parser } from 'mqtt-packet';

/** Chunks of an incomplete packet that are kept as they came: each takes some hundred bytes, however small it is. */
const MAX_CHUNKS = 4096;

/** What the parser keeps of the packet that is not complete yet. */
interface ParserState {
  packet: { length: number };
  _pos: number;
  _list: { slice(): Buffer; consume(bytes: number): void; append(bytes: Buffer): void };
}

/** Cuts what a client sends into packets. */
export class PacketReader {
  private readonly parser: Parser & ParserState;
  private chunks = 0;

  /** @param onMalformed nothing is read any more; the text says what is wrong. */
  constructor(onPacket: (packet: Packet) => void, onMalformed: (problem: string) => void) {
    this.parser = mqtt.parser({ protocolVersion: 4 } as Parameters<typeof mqtt.parser>[0]) as Parser & ParserState;
    this.parser.on('packet', (packet: Packet) => {
      // The parser reads what is missing from the packet behind.
      if (this.parser._pos > packet.length!) onMalformed('it ends too early');
      else onPacket(packet);
    });
    this.parser.on('error', (error: Error) => onMalformed(error.message));
  }

  /** @returns the length that the packet which is not complete says it has; 0 or less when there is none. */
  read(bytes: Buffer): number {
    const { parser } = this;
    this.chunks = parser.parse(bytes) === 0 ? 0 : this.chunks + 1;
    if (this.chunks > MAX_CHUNKS) {
      this.chunks = 0;
      const joined = parser._list.slice();
      parser._list.consume(joined.length);
      parser._list.append(joined);
    }
    return parser.packet.length;
  }
}
