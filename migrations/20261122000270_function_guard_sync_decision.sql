-- The only change that people make to a sync is one decision on a held report, once, with a reason.
create function reconciler.guard_sync_decision() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
begin
    if old.state <> 'held' or old.decision is not null then
        raise exception 'sync % is not waiting for a decision: it is %', old.id,
                        case when old.decision is null then old.state else 'already ' || old.decision end
            using errcode = 'P0409';
    end if;
    if old.held_until < clock_timestamp() then
        raise exception 'the report of sync % could be decided on until %', old.id, old.held_until
            using errcode = 'P0410', hint = 'The app is read anew: decide on the next report.';
    end if;
    if new.decision is null or reconciler.is_blank(new.decision_reason) then
        raise exception 'a decision on sync % needs decision (approved or rejected) and decision_reason', old.id
            using errcode = 'check_violation';
    end if;
    new.decided_by := reconciler.current_actor();
    new.decided_at := clock_timestamp();
    -- approved: the report is checked again and applied if it has not changed; rejected: the sync ends.
    new.state := 'report_ready';
    new.next_step_at := clock_timestamp();
    return new;
end
$$;

create trigger decisions_are_guarded
    before update of decision, decision_reason on reconciler.syncs
    for each row execute function reconciler.guard_sync_decision();
