"""The contract, tried with the ORM of Django. BACKEND_URL names a login in the role reconciler_backend."""

import json
import os
import sys
import uuid
from urllib.parse import unquote, urlsplit

import django
from django.conf import settings
from django.db import IntegrityError, ProgrammingError, connection, models, transaction
from django.utils import timezone

url = urlsplit(os.environ["BACKEND_URL"])
settings.configure(
    USE_TZ=True,
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": url.hostname,
            "PORT": url.port or 5432,
            "NAME": url.path.lstrip("/"),
            "USER": unquote(url.username),
            "PASSWORD": unquote(url.password),
        }
    },
)
django.setup()

from django.contrib.postgres.fields import ArrayField  # noqa: E402


class AutomationTask(models.Model):
    """Only the columns that the backend inserts, and `id`. Defaults are those of Python: with `db_default`, Django
    reads the column back in `returning`, and the role may not read it."""

    id = models.BigAutoField(primary_key=True)
    workspace_id = models.TextField()
    source_id = models.TextField()
    job_id = models.TextField(null=True)
    integration_id = models.TextField()
    integration_kind = models.TextField()
    integration_name = models.TextField()
    application = models.TextField()
    member_id = models.TextField()
    member_email = models.TextField()
    operation = models.TextField()
    entitlements = ArrayField(models.TextField(), default=list)
    trigger = models.TextField()
    requested_at = models.DateTimeField()
    failure_code = models.TextField(null=True)
    can_retry = models.BooleanField(null=True)
    outcome = models.TextField(default="failed")

    class Meta:
        app_label = "reconciler"
        db_table = '"reconciler"."automation_tasks"'
        managed = False


def check(holds: bool, otherwise: str) -> None:
    if not holds:
        sys.exit(f"Django: {otherwise}")


def fail(kind: type, error: BaseException, trace) -> None:
    print(f"Django: line {trace.tb_lineno} failed: {error}", file=sys.stderr)


sys.excepthook = fail


def row(**changes) -> dict:
    """A row that keeps the contract, with a source_id of its own."""
    return {
        "workspace_id": "acme",
        "source_id": f"django-{uuid.uuid4()}",
        "integration_id": "figma-1",
        "integration_kind": "app",
        "integration_name": "Figma",
        "application": "figma_tenant",
        "member_id": "u-1",
        "member_email": "jo@acme.example",
        "operation": "remove",
        "trigger": "manual",
        "requested_at": timezone.now(),
        **changes,
    }


def enqueue(task: dict) -> int:
    with connection.cursor() as cursor:
        cursor.execute("select reconciler.enqueue_task(%s::jsonb)", [json.dumps(task)])
        return cursor.fetchone()[0]


def count(source_id: str) -> int:
    return AutomationTask.objects.filter(workspace_id="acme", source_id=source_id).count()


# save() is `insert … returning id`.
first = row()
created = AutomationTask.objects.create(**first)
check(isinstance(created.id, int), f"create() returned the id {created.id!r}")

# ignore_conflicts is `on conflict do nothing`, and brings no id back.
AutomationTask.objects.bulk_create([AutomationTask(**first)], ignore_conflicts=True)
check(count(first["source_id"]) == 1, "bulk_create inserted the same source_id again")
second = row()
AutomationTask.objects.bulk_create([AutomationTask(**second)], ignore_conflicts=True)
check(count(second["source_id"]) == 1, "bulk_create with ignore_conflicts did not insert a new source_id")

# only("id") keeps the query from reading columns that the role may not read.
key = {"workspace_id": first["workspace_id"], "source_id": first["source_id"]}
again, is_new = AutomationTask.objects.only("id").get_or_create(**key, defaults=first)
check((again.id, is_new) == (created.id, False), "get_or_create did not find the row")

# The exact statement of the contract needs a cursor.
with connection.cursor() as cursor:
    values = row()
    statement = (
        f"insert into reconciler.automation_tasks ({', '.join(values)}) "
        f"values ({', '.join(['%s'] * len(values))}) "
        "on conflict (workspace_id, source_id) do nothing returning id"
    )
    cursor.execute(statement, list(values.values()))
    check(isinstance(cursor.fetchone()[0], int), "the insert returned no id")
    cursor.execute(statement, list(values.values()))
    check(cursor.fetchone() is None, "the same source_id was inserted again")

task = row(requested_at=timezone.now().isoformat())
check(enqueue(task) == enqueue(task), "enqueue_task returned two ids for one source_id")

with connection.cursor() as cursor:
    cursor.execute("select task_id, state from reconciler.task_status(%s, %s)", ["acme", first["source_id"]])
    found = cursor.fetchone()
    check(found == (created.id, "pending"), f"task_status returned {found}")

try:
    with transaction.atomic():
        AutomationTask.objects.create(**row(operation="delete"))
except IntegrityError as error:
    name = error.__cause__.diag.constraint_name
    check(name == "operation_is_invite_remove_or_change_role", f"the refusal named {name}")
    check(name in str(error), f"the message does not have the constraint: {error}")
else:
    check(False, "a row with operation delete was inserted")

# One bad row in a batch: with a savepoint for each row, the others stay.
batch = [row(), row(operation="delete"), row()]
with transaction.atomic():
    for values in batch:
        try:
            with transaction.atomic():
                AutomationTask.objects.create(**values)
        except IntegrityError:
            pass
check([count(values["source_id"]) for values in batch] == [1, 0, 1], "the good rows of the batch are not there")

for what, read in {
    "member_email": lambda: list(AutomationTask.objects.values_list("member_email")),
    "every column": lambda: list(AutomationTask.objects.all()),
}.items():
    try:
        with transaction.atomic():
            read()
    except ProgrammingError as error:
        check("permission denied" in str(error), f"reading {what} failed otherwise: {error}")
    else:
        check(False, f"the role could read {what}")

print("Django: ok")
