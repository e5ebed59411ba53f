-- Why an unfinished task waits, until when, and who can change that, in one sentence; null for a task that has ended.
--
-- The sessions of people plan each statement for its values, which for the few rows of a key takes longer than to read them:
-- a list of 100 tasks took 75 ms instead of 15. So the statements of this function keep their plans.
create function reconciler.why_waiting(t reconciler.automation_tasks) returns text
    language plpgsql stable security definer
    set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as
$$
declare
    a reconciler.arrivals;
    m reconciler.members;
    i reconciler.integrations;
    o reconciler.manual_actions;
    v_first text;
    v_fix bigint;
begin
    if t.closed_at is not null then
        return null;
    end if;
    select * into a from reconciler.arrivals b where b.task_id = t.id and b.workspace_id = t.workspace_id;
    if a.held_reason is not null then
        return format('Held: %s. A person corrects integration %s or cancels the task.', a.held_reason, t.integration_id);
    elsif a.quarantined > 0 and a.not_before > now() then
        return format('It could not be put in order and is tried again at %s. The log line task.quarantined says why.',
                      reconciler.moment(a.not_before));
    elsif a.task_id is not null then
        return 'It has just arrived. The daemon puts it in order within seconds.';
    end if;
    select * into m from reconciler.members b
    where b.workspace_id = t.workspace_id and b.integration_id = t.integration_id and b.member_id = t.member_id;
    if m.ready_task_id is distinct from t.id then
        if m.open_action_id is not null then
            select * into o from reconciler.manual_actions b where b.id = m.open_action_id;
            return format('Behind manual action %s of the same member, which is %s. It goes on when that action ends.',
                          o.id, o.status);
        elsif m.ready_task_id is not null then
            return format('Behind task %s of the same member. It goes on when that task ends.', m.ready_task_id);
        end if;
        return 'It is next. The daemon gives it its turn within seconds.';
    end if;
    if m.running_job_id is not null then
        return format('Automation runs job %s since %s. The next poll is at %s.', m.running_job_id,
                      reconciler.moment(m.running_since), reconciler.moment(m.next_attempt_at));
    elsif m.lease_until > now() then
        return 'The daemon works on it now.';
    end if;
    select * into i from reconciler.integrations b
    where b.workspace_id = t.workspace_id and b.integration_id = t.integration_id;
    if not t.needs_no_automation then
        case i.status
            when 'paused' then
                return format('Integration %s is paused since %s: %s. A person resumes it.', i.integration_id,
                              reconciler.moment(i.status_since), i.status_reason);
            when 'login_rejected' then
                select b.reconnect_action_id into v_fix from reconciler.integration_states b
                where b.workspace_id = t.workspace_id and b.integration_id = t.integration_id;
                return format('Integration %s rejects its stored login since %s. A person fixes the login%s.',
                              i.integration_id, reconciler.moment(i.status_since),
                              coalesce(': manual action ' || v_fix, ''));
            when 'tripped', 'probing' then
                return format('Integration %s is on hold since %s: %s. The next try is at %s, by itself.',
                              i.integration_id, reconciler.moment(i.status_since), i.status_reason,
                              reconciler.moment(greatest(i.status_until, now())));
            else null;
        end case;
        if exists (select from reconciler.outages b
                   where b.workspace_id = t.workspace_id and b.integration_id in ('', t.integration_id)) then
            return 'The backend gives no usable answer for its workspace or app. It goes on by itself when that is over.';
        end if;
    end if;
    v_first := coalesce(' after: ' || t.last_error, '');
    if m.effects_possible_until > greatest(now(), m.next_attempt_at) then
        return format('An earlier attempt may still change the app until %s. It goes on then.',
                      reconciler.moment(m.effects_possible_until));
    elsif m.next_attempt_at > now() then
        return format('The next attempt is at %s%s. Attempts so far: %s.', reconciler.moment(m.next_attempt_at), v_first,
                      t.attempts);
    end if;
    return format('Due since %s. The daemon takes it as soon as it has room%s.', reconciler.moment(m.next_attempt_at),
                  coalesce(' within the limit of the integration: ' || i.max_in_flight || ' at a time', ''));
end
$$;

comment on function reconciler.why_waiting(reconciler.automation_tasks) is
    'Returns why an unfinished task waits, until when, and who can change that, in sentences; null for a task that '
    'has ended.';
