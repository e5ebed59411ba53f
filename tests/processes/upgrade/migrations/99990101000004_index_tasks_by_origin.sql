-- no-transaction
-- oldest program: 0.1.0
create index concurrently if not exists tasks_by_origin on reconciler.automation_tasks (origin, id);
