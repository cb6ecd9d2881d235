// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.
// node-postgres through the proxy: node.mjs NODE_MODULES PORT; the user is ann, her password is in PGPASSWORD.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { pipeline } from "node:stream/promises";
import { Readable } from "node:stream";

const require = createRequire(process.argv[2] + "/");
const pg = require("pg");
const Cursor = require("pg-cursor");
const copy = require("pg-copy-streams");

const connect = async (database) => {
  const client = new pg.Client({ host: "127.0.0.1", port: Number(process.argv[3]), user: "ann", database });
  client.on("error", () => {});
  await client.connect();
  return client;
};

for (const database of ["app", "sess"]) {
  const client = await connect(database);
  // Each query is sent without waiting for the one before.
  const many = await Promise.all([...Array(50).keys()].map((n) => client.query("SELECT $1::int AS n", [n])));
  assert.deepEqual(many.map((r) => r.rows[0].n), [...Array(50).keys()]);

  // A cursor that is not read to its end keeps its portal, which needs a transaction.
  await client.query("BEGIN");
  const cursor = client.query(new Cursor("SELECT generate_series(1, 1000) AS n"));
  assert.equal((await cursor.read(10)).length, 10);
  assert.equal((await cursor.read(900)).length, 900);
  await cursor.close();
  await client.query("COMMIT");

  await client.query("DROP TABLE IF EXISTS streamed");
  await client.query("CREATE TABLE streamed (n int)");
  const lines = Readable.from((function* () { for (let i = 0; i < 20000; ++i) yield `${i}\n`; })());
  await pipeline(lines, client.query(copy.from("COPY streamed FROM STDIN")));
  let bytes = 0;
  for await (const chunk of client.query(copy.to("COPY streamed TO STDOUT"))) bytes += chunk.length;
  assert.equal(bytes, 108890);
  assert.equal((await client.query("SELECT count(*)::int AS n FROM streamed")).rows[0].n, 20000);
  await assert.rejects(pipeline(Readable.from(["x\n"]), client.query(copy.from("COPY streamed FROM STDIN"))), { code: "22P02" });

  // A driver cancels on another connection, with the key of this one.
  const slow = client.query("SELECT pg_sleep(60)");
  const other = new pg.Connection();
  other.on("error", () => {});
  other.on("connect", () => other.cancel(client.processID, client.secretKey));
  setTimeout(() => other.connect(Number(process.argv[3]), "127.0.0.1"), 200);
  await assert.rejects(slow, { code: "57014" });
  assert.equal((await client.query("SELECT 'well' AS how")).rows[0].how, "well");

  await assert.rejects(client.query("SELECT 1/0"), { code: "22012" });
  const named = client.query({ name: "named", text: "SELECT 7 AS n" });
  if (database === "sess") assert.equal((await named).rows[0].n, 7);
  else await assert.rejects(named, /need pool_mode session/);
  await client.end();
}

const pool = new pg.Pool({ host: "127.0.0.1", port: Number(process.argv[3]), user: "ann", database: "app", max: 20 });
const all = await Promise.all([...Array(400).keys()].map((n) => pool.query("SELECT $1::int AS n", [n])));
assert.deepEqual(all.map((r) => r.rows[0].n), [...Array(400).keys()]);
await pool.end();
