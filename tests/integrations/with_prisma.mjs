// The contract, tried with Prisma. BACKEND_URL names a login in the role reconciler_backend.
import { randomUUID } from "node:crypto";
import { PrismaPg } from "@prisma/adapter-pg";
import { PrismaClient } from "@prisma/client";

const prisma = new PrismaClient({
  adapter: new PrismaPg({ connectionString: process.env.BACKEND_URL }),
});
const tasks = prisma.automationTask;

function check(holds, otherwise) {
  if (!holds) {
    console.error(`Prisma: ${otherwise}`);
    process.exit(1);
  }
}

process.on("uncaughtException", (error) => check(false, `a statement failed: ${error.message.trim()}`));

/** A row that keeps the contract, with a sourceId of its own. */
function row(changes = {}) {
  return {
    workspaceId: "acme",
    sourceId: `prisma-${randomUUID()}`,
    integrationId: "figma-1",
    integrationKind: "app",
    integrationName: "Figma",
    application: "figma_tenant",
    memberId: "u-1",
    memberEmail: "jo@acme.example",
    operation: "remove",
    trigger: "manual",
    requestedAt: new Date(),
    ...changes,
  };
}

async function refusal(what, promise) {
  try {
    await promise;
  } catch (error) {
    return JSON.stringify({ message: error.message, meta: error.meta });
  }
  check(false, `${what} was not refused`);
}

async function enqueue(task) {
  const [answer] = await prisma.$queryRaw`select reconciler.enqueue_task(${JSON.stringify(task)}::jsonb) as id`;
  return answer.id;
}

// Without `select`, Prisma returns every column of the model, and the role may read only three of them.
const onlyId = { id: true };

const first = row();
const created = await tasks.create({ data: first, select: onlyId });
check(typeof created.id === "bigint", `create() returned the id ${created.id}`);

// skipDuplicates is `on conflict do nothing`: only new rows come back.
const fresh = row();
const inserted = await tasks.createManyAndReturn({
  data: [first, fresh],
  skipDuplicates: true,
  select: { id: true, sourceId: true },
});
check(
  inserted.length === 1 && inserted[0].sourceId === fresh.sourceId && typeof inserted[0].id === "bigint",
  `of one old row and one new row, ${inserted.length} were inserted`,
);
const key = { workspaceId: first.workspaceId, sourceId: first.sourceId };
const found = await tasks.findUnique({ where: { workspaceId_sourceId: key }, select: onlyId });
check(found?.id === created.id, "findUnique did not find the row");

const task = {
  workspace_id: "acme",
  source_id: `prisma-${randomUUID()}`,
  integration_id: "figma-1",
  integration_kind: "app",
  integration_name: "Figma",
  application: "figma_tenant",
  member_id: "u-1",
  member_email: "jo@acme.example",
  operation: "remove",
  trigger: "manual",
  requested_at: new Date(),
};
check((await enqueue(task)) === (await enqueue(task)), "enqueue_task returned two ids for one source_id");

const [status] = await prisma.$queryRaw`
  select task_id, state from reconciler.task_status(${first.workspaceId}, ${first.sourceId})`;
check(status?.task_id === created.id && status.state === "pending", `task_status returned the state ${status?.state}`);

const wrong = tasks.create({ data: row({ operation: "delete" }), select: onlyId });
const told = await refusal("a row with operation delete", wrong);
check(told.includes("operation_is_invite_remove_or_change_role"), `the refusal does not name the constraint: ${told}`);

// One bad row in a batch: with a savepoint for each row, the others stay. Prisma has no call for savepoints.
const batch = [row(), row({ operation: "delete" }), row()];
const kept = [];
await prisma.$transaction(async (transaction) => {
  for (const data of batch) {
    await transaction.$executeRaw`savepoint one_row`;
    try {
      kept.push(await transaction.automationTask.create({ data, select: onlyId }));
      await transaction.$executeRaw`release savepoint one_row`;
    } catch {
      await transaction.$executeRaw`rollback to savepoint one_row`;
    }
  }
});
const there = await tasks.count({ where: { id: { in: kept.map(({ id }) => id) } } });
check(kept.length === 2 && there === 2, `of the two good rows of the batch, ${there} are there`);

const denied = {
  "reading memberEmail": () => tasks.findFirst({ select: { memberEmail: true } }),
  "create() without select": () => tasks.create({ data: row() }),
};
for (const [what, statement] of Object.entries(denied)) {
  const message = await refusal(what, statement());
  check(message.includes("permission denied"), `${what} failed otherwise: ${message}`);
}

await prisma.$disconnect();
console.log("Prisma: ok");
