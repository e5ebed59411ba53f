-- Fills in what nobody may write: who, and when.
create function reconciler.stamp_action() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
declare
    v_is_withdrawn boolean := old.status = 'done' and new.status in ('open', 'in_progress')
                              and not reconciler.is_daemon();
begin
    if old.status = 'done' and new.status in ('open', 'in_progress') or new.status = 'done' then
        new.done_by := case when new.status = 'done' then reconciler.current_actor() end;
        new.done_at := case when new.status = 'done' then clock_timestamp() end;
        new.confirmed_by := null;
        new.confirmed_at := null;
    end if;
    if v_is_withdrawn or new.status = 'done' then
        new.verdict := null;
        new.verdict_at := null;
        new.snapshots := 0;
        new.sync_id := null;
        new.snapshot_hash := null;
        new.snapshot_started_at := null;
    end if;
    if new.status = 'in_progress' and new.assigned_at is not distinct from old.assigned_at then
        new.assignee := reconciler.current_actor();
        new.assigned_at := clock_timestamp();
    elsif new.status = 'open' and (v_is_withdrawn or old.status = 'in_progress') then
        new.assignee := null;
        new.assigned_at := null;
    elsif new.status = 'open' then
        new.reopened_count := old.reopened_count + 1;
    end if;
    if new.status not in ('open', 'in_progress', 'done') then
        new.closed_at := clock_timestamp();
    end if;
    return new;
end
$$;
