import type { MigrationInterface, QueryRunner } from 'typeorm';

export class Decoders1700001000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE decoders (
        -- 'public' for those of the administrator, which every tenant can use.
        tenant_id text NOT NULL,
        id uuid NOT NULL,
        encoding text NOT NULL,
        kind text NOT NULL,
        enabled boolean NOT NULL,
        -- json keeps the order of fields, so that a decoder is returned as it was given.
        definition json NOT NULL,
        template text,
        model text,
        tags text[] NOT NULL,
        -- Grows with each change: what was compiled of an earlier revision is not used any more.
        revision int NOT NULL DEFAULT 1,
        created timestamptz NOT NULL,
        updated timestamptz NOT NULL,
        PRIMARY KEY (tenant_id, id),
        -- A message names its decoder by the encoding alone.
        UNIQUE (tenant_id, encoding)
      )`);
    // Grows with each change of a tenant's decoders, and is the lock under which they change: a stage that reads it in its
    // transaction knows whether the decoders in its memory are the current ones.
    await runner.query(`
      CREATE TABLE decoder_versions (
        tenant_id text PRIMARY KEY,
        version bigint NOT NULL
      ) WITH (fillfactor = 50)`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE decoders, decoder_versions');
  }
}
