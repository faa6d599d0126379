// BullMQ on Redis or on PostgreSQL: a worker (`work`), or jobs for the ids on standard input (`put`).
const { createInterface } = require("node:readline");
const { Pool } = require("pg");
const bullmq = require("bullmq");

const QUEUE = "bench";
const BATCH = 500;
const slots = Number(process.env.BENCH_SLOTS);
const database = process.env.MILLRACE_DATABASE_URL;
const redis = { host: "127.0.0.1", port: Number(process.env.BENCH_REDIS_PORT), maxRetriesPerRequest: null };
const { Queue, Worker } =
  process.env.BENCH_BACKEND === "postgres" ? bullmq.withBackend(bullmq.createPostgresBackend) : bullmq;
const connection =
  process.env.BENCH_BACKEND === "postgres" ? { connectionString: database, migrate: true } : redis;

async function work() {
  const pool = new Pool({ connectionString: database, max: slots });
  const insert = async ({ data }) => {
    const client = await pool.connect();
    try {
      await client.query("BEGIN");
      await client.query({ name: "insert", text: process.env.BENCH_INSERT, values: [data.id, data.name] });
      await client.query("COMMIT");
    } finally {
      client.release();
    }
  };
  const worker = new Worker(QUEUE, insert, { connection, concurrency: slots });
  worker.on("error", (error) => console.error(error));
  process.on("SIGTERM", async () => {
    await worker.close();
    await pool.end();
    process.exit(0);
  });
  await worker.waitUntilReady();
  console.log("ready");
}

async function put() {
  const queue = new Queue(QUEUE, { connection });
  let batch = [];
  const flush = async () => {
    if (batch.length) await queue.addBulk(batch);
    batch = [];
  };
  for await (const id of createInterface({ input: process.stdin })) {
    batch.push({ name: "insert", data: { id, name: "a row" } });
    if (batch.length === BATCH) await flush();
  }
  await flush();
  await queue.close();
}

({ work, put })[process.argv[2]]();
