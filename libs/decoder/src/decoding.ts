/**
 * What a payload holds, by field. Values are JSON values, and bigint for integers that a double cannot carry. Objects
 * have no prototype when their names come from outside.
 */
export type DecodedFields = Record<string, unknown>;

/** The payload does not fit the decoder: the message is stored as it came. The text tells the owner of the device why. */
export class DecodingError extends Error {}

/** The decoder itself is wrong: its format, columns, script or template. */
export class DefinitionError extends Error {
  constructor(
    message: string,
    /** Index of the first character that is wrong, counted from 0. */
    readonly position?: number,
  ) {
    super(message);
  }
}
