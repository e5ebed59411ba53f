create function reconciler.guard_action_status() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
declare
    v_by_daemon boolean := reconciler.is_daemon();
    allowed text[] := reconciler.next_action_statuses(old.status, v_by_daemon);
begin
    if old.status in ('verified', 'attested') and new.status in ('open', 'in_progress') then
        raise exception 'manual action % was judged at %: it is %, and the word of % cannot be withdrawn any more',
                        old.id, reconciler.moment(old.verdict_at), old.status, old.done_by
            using errcode = 'P0410';
    end if;
    if old.closed_at is not null then
        raise exception 'manual action % has ended: it is % since %', old.id, old.status,
                        concat(reconciler.moment(old.closed_at), ', and ' || old.done_by || ' marked it done at '
                                                                 || reconciler.moment(old.done_at))
            using errcode = 'P0409', hint = 'Nothing of an action that has ended can be changed.';
    elsif new.status is distinct from old.status and not (new.status = any (allowed)) then
        raise exception 'manual action % is % and cannot become %', old.id, old.status, coalesce(new.status, 'null')
            using errcode = 'P0409',
                  hint = 'From ' || old.status || ' it can become: ' || array_to_string(allowed, ', ') || '.';
    end if;
    if old.status = 'done' and new.status in ('open', 'in_progress') and not v_by_daemon then
        perform reconciler.refuse_foreign_withdrawal(old);
    elsif old.status = 'in_progress' and new.status = 'open' then
        perform reconciler.refuse_foreign_claim(old);
    elsif new.status <> old.status and new.status in ('dismissed', 'returned') then
        perform reconciler.refuse_without_reason(old, new.status, new.note, new.note_at);
    end if;
    -- Only the functions that claim and hand over also write the time, which no role may write.
    if new.assignee is distinct from old.assignee and new.assigned_at is not distinct from old.assigned_at
       and not (new.assignee is null and new.status = 'open')
       and not (new.status = 'in_progress' and old.status <> 'in_progress'
                and reconciler.is_same_person(new.assignee, reconciler.current_actor())) then
        raise exception 'the assignee of manual action % is set by claiming it or handing it over', old.id
            using errcode = 'P0403',
                  hint = format('select * from reconciler.hand_over(%s, %L, ''why'')', old.id, new.assignee);
    end if;
    return new;
end
$$;
