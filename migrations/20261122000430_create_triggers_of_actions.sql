create trigger actions_are_deleted_by_retention_only
    before delete or truncate on reconciler.manual_actions
    for each statement execute function reconciler.refuse_deletion();

-- Triggers run in the order of their names.
create trigger a_notes_are_dated
    before update of note on reconciler.manual_actions
    for each row execute function reconciler.date_note();

create trigger b_changes_are_guarded
    before update on reconciler.manual_actions
    for each row execute function reconciler.guard_action_status();

create trigger c_repeated_statuses_are_guarded
    before update of status on reconciler.manual_actions
    for each row when (old.status = new.status) execute function reconciler.guard_repeated_status();

create trigger d_changes_are_stamped
    before update on reconciler.manual_actions
    for each row when (old.status <> new.status) execute function reconciler.stamp_action();
