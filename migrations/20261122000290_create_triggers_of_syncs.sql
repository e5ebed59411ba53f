create trigger deleted_syncs_are_recorded
    after delete on reconciler.syncs
    referencing old table as old_rows
    for each statement execute function reconciler.record_deletions();

create trigger sync_requests_are_recorded
    after insert on reconciler.syncs
    for each row execute function reconciler.record_sync();

create trigger sync_changes_are_recorded
    after update of state, decision on reconciler.syncs
    for each row when (old.state is distinct from new.state)
    execute function reconciler.record_sync();
