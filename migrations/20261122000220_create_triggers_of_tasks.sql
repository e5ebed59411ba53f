create trigger deleted_tasks_are_recorded
    after delete on reconciler.automation_tasks
    referencing old table as old_rows
    for each statement execute function reconciler.record_deletions();

create trigger arrivals_are_noted
    after insert on reconciler.automation_tasks
    referencing new table as arrived
    for each statement execute function reconciler.note_arrivals();
