"""The contract, tried with SQLAlchemy. BACKEND_URL names a login in the role reconciler_backend."""

import os
import sys
import uuid
from datetime import datetime, timezone

from sqlalchemy import ARRAY, BigInteger, Identity, Text, cast, create_engine, func, select
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP, insert
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


class Base(DeclarativeBase):
    pass


class AutomationTask(Base):
    """Only the columns that the backend inserts, and `id`. Defaults are those of Python: with `server_default`,
    SQLAlchemy reads the column back in `returning`, and the role may not read it."""

    __tablename__ = "automation_tasks"
    __table_args__ = {"schema": "reconciler"}

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    workspace_id: Mapped[str] = mapped_column(Text)
    source_id: Mapped[str] = mapped_column(Text)
    job_id: Mapped[str | None] = mapped_column(Text)
    integration_id: Mapped[str] = mapped_column(Text)
    integration_kind: Mapped[str] = mapped_column(Text)
    integration_name: Mapped[str] = mapped_column(Text)
    application: Mapped[str] = mapped_column(Text)
    member_id: Mapped[str] = mapped_column(Text)
    member_email: Mapped[str] = mapped_column(Text)
    operation: Mapped[str] = mapped_column(Text)
    entitlements: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list)
    trigger: Mapped[str] = mapped_column(Text)
    requested_at: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True))
    failure_code: Mapped[str | None] = mapped_column(Text)
    can_retry: Mapped[bool | None]
    outcome: Mapped[str] = mapped_column(Text, default="failed")


def check(holds: bool, otherwise: str) -> None:
    if not holds:
        sys.exit(f"SQLAlchemy: {otherwise}")


def fail(kind: type, error: BaseException, trace) -> None:
    print(f"SQLAlchemy: line {trace.tb_lineno} failed: {getattr(error, 'orig', error)}", file=sys.stderr)


sys.excepthook = fail


def row(**changes) -> dict:
    """A row that keeps the contract, with a source_id of its own."""
    return {
        "workspace_id": "acme",
        "source_id": f"sqlalchemy-{uuid.uuid4()}",
        "integration_id": "figma-1",
        "integration_kind": "app",
        "integration_name": "Figma",
        "application": "figma_tenant",
        "member_id": "u-1",
        "member_email": "jo@acme.example",
        "operation": "remove",
        "trigger": "manual",
        "requested_at": datetime.now(timezone.utc),
        **changes,
    }


def once(values: dict):
    """An insert that changes nothing if the workspace has the source_id already."""
    statement = insert(AutomationTask).values(**values)
    return statement.on_conflict_do_nothing(index_elements=["workspace_id", "source_id"]).returning(AutomationTask.id)


def enqueue(session: Session, task: dict) -> int:
    return session.scalar(select(func.reconciler.enqueue_task(cast(task, JSONB))))


url = os.environ["BACKEND_URL"].replace("postgres://", "postgresql+psycopg://", 1)
engine = create_engine(url, hide_parameters=True)  # errors do not show the values

with Session(engine) as session:
    first = row()
    task_id = session.scalar(once(first))
    check(isinstance(task_id, int), f"the insert returned {task_id!r} and not an id")
    check(session.scalar(once(first)) is None, "the same source_id was inserted again")

    added = AutomationTask(**row())
    session.add(added)
    session.flush()
    check(isinstance(added.id, int), "session.add() brought no id back")

    task = row(requested_at=datetime.now(timezone.utc).isoformat())
    check(enqueue(session, task) == enqueue(session, task), "enqueue_task returned two ids for one source_id")
    session.commit()

with Session(engine) as session:
    status = func.reconciler.task_status("acme", first["source_id"]).table_valued("task_id", "state")
    found = session.execute(select(status.c.task_id, status.c.state)).one()
    check(tuple(found) == (task_id, "pending"), f"task_status returned {tuple(found)}")

# One bad row in a batch: with a savepoint for each row, the others stay.
with Session(engine) as session:
    batch, refused = [row(), row(operation="delete"), row()], []
    for values in batch:
        try:
            with session.begin_nested():
                session.execute(once(values))
        except IntegrityError as error:
            refused.append(error.orig.diag.constraint_name)
    session.commit()
    check(refused == ["operation_is_invite_remove_or_change_role"], f"the batch had the refusals {refused}")
    kept = select(func.count(AutomationTask.id)).where(
        AutomationTask.workspace_id == "acme",
        AutomationTask.source_id.in_([values["source_id"] for values in batch]),
    )
    check(session.scalar(kept) == 2, "the good rows of the batch are not there")

with Session(engine) as session:
    try:
        session.scalars(select(AutomationTask.member_email)).all()
    except ProgrammingError as error:
        check("permission denied" in str(error.orig), f"reading member_email failed otherwise: {error.orig}")
    except DBAPIError as error:
        check(False, f"reading member_email failed otherwise: {error.orig}")
    else:
        check(False, "the role could read member_email")

print("SQLAlchemy: ok")
