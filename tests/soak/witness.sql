-- Who claimed which task and when, and who else wrote to it: told by the database, not by the daemon.
create table soak.claims (
    id      bigint generated always as identity primary key,
    task_id bigint not null,
    token   bigint not null,
    at      timestamptz not null,
    login   text not null
);
create index claims_of_a_task on soak.claims (task_id, token);

create table soak.strange_writes (
    id      bigint generated always as identity primary key,
    task_id bigint not null,
    at      timestamptz not null,
    what    text not null
);

-- Turns that ended while they were held, and in which transaction.
create table soak.ended_held (
    task_id        bigint not null,
    transaction_id xid8 not null
);
create index ended_held_of_a_task on soak.ended_held (task_id);

-- What the member's row said of former attempts and people at each claim, and what all that ever happened to the member
-- says: where either is in doubt.
create table soak.doubts (
    task_id               bigint not null,
    token                 bigint not null,
    operation             text not null,
    removed_by_hand_at    timestamptz,
    admitted_by_hand_at   timestamptz,
    removal_tried_until   timestamptz,
    admission_tried_until timestamptz,
    snapshot_at           timestamptz,
    touched_by_hand       boolean not null,
    tried_before          boolean not null
);

create function soak.doubt(m reconciler.members) returns void
    language sql security definer set search_path = pg_catalog, pg_temp as
$$
    insert into soak.doubts
    select m.ready_task_id, m.lease_token, t.operation, m.removed_by_hand_at, m.admitted_by_hand_at,
           m.removal_tried_until, m.admission_tried_until, nullif(d.snapshot_at, '-infinity'), o.touched_by_hand, o.tried_before
    from reconciler.automation_tasks t
    join reconciler.integration_states d using (workspace_id, integration_id)
    cross join lateral soak.oracle(t.id) o
    where t.id = m.ready_task_id and t.workspace_id = m.workspace_id
      and (o.touched_by_hand or o.tried_before or m.removed_by_hand_at is not null
           or m.admitted_by_hand_at is not null or m.removal_tried_until is not null
           or m.admission_tried_until is not null)
$$;

create function soak.note(task_id bigint, what text) returns void
    language sql security definer set search_path = pg_catalog, pg_temp as
$$
    insert into soak.strange_writes (task_id, at, what) values (task_id, clock_timestamp(), what)
$$;

-- Whoever changes or ends a turn that is held must hold it. A replica that claims again what it held itself is not told
-- apart from before: the stories of leases show that its old outcome is refused.
create function soak.witness_turn() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
declare
    holder text;
    turn_ends boolean;
begin
    if tg_op = 'UPDATE' and new.lease_token <> old.lease_token then
        insert into soak.claims (task_id, token, at, login)
        values (new.ready_task_id, new.lease_token, clock_timestamp(), session_user);
        perform soak.doubt(new);
        if new.ready_task_id is distinct from old.ready_task_id then
            perform soak.note(new.ready_task_id, format('claimed in the place of %s', old.ready_task_id));
        end if;
        return null;
    end if;
    turn_ends := tg_op = 'DELETE' or new.ready_task_id is distinct from old.ready_task_id;
    if turn_ends and old.lease_until is null then
        return null;
    end if;
    if turn_ends then
        insert into soak.ended_held values (old.ready_task_id, pg_current_xact_id());
    elsif (new.running_job_id, new.uncertain_since) is not distinct from (old.running_job_id, old.uncertain_since)
          and (old.lease_until is null or new.lease_until is not null) then
        return null;
    end if;
    select c.login into holder
    from soak.claims c where c.task_id = old.ready_task_id and c.token = old.lease_token;
    if holder is distinct from session_user then
        perform soak.note(old.ready_task_id,
                          format('%s of its turn by %s over the claim of %s', lower(tg_op), session_user, holder));
    end if;
    return null;
end
$$;

create trigger soak_witness_of_updates
    after update on reconciler.members
    for each row when (old.ready_task_id is not null)
    execute function soak.witness_turn();
create trigger soak_witness_of_deletes
    after delete on reconciler.members
    for each row when (old.ready_task_id is not null)
    execute function soak.witness_turn();

-- Whoever records an outcome holds the task, or held it last. Only intake closes what nobody holds; what a person sent
-- back to automation, and what did not last, nobody holds.
create function soak.witness_outcome() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
declare
    holder text;
begin
    if (new.state, new.attempts, new.closed_at) is not distinct from (old.state, old.attempts, old.closed_at) then
        return null;
    end if;
    if new.returned_at is distinct from old.returned_at then
        return null; -- whoever takes up that a person sent it back
    end if;
    if new.closed_reason like 'Replaced by a newer request (task %' then
        if exists (select from soak.ended_held e
                   where e.task_id = new.id and e.transaction_id = pg_current_xact_id()) then
            perform soak.note(new.id, 'superseded by intake while it was held');
        end if;
        return null;
    end if;
    if old.closed_at is not null
       and exists (select from reconciler.events e
                   where e.subject = 'task' and e.subject_id = new.id::text and e.at >= now()
                     and e.what in ('task.member_returned', 'task.invitation_expired')) then
        return null; -- what did not last is nobody's: the snapshot showed it
    end if;
    if old.ordered_at is null and new.outcome = 'succeeded' and new.state = 'succeeded' then
        return null; -- automation did it elsewhere, and nobody ever holds it
    end if;
    select c.login into holder from soak.claims c where c.task_id = new.id order by c.token desc limit 1;
    if holder is distinct from session_user then
        perform soak.note(new.id, format('%s wrote %s over the claim of %s', session_user, new.state, holder));
    end if;
    return null;
end
$$;

-- Deferred, so that the end of the turn in the same statement is seen.
create constraint trigger soak_witness
    after update on reconciler.automation_tasks
    deferrable initially deferred
    for each row execute function soak.witness_outcome();
