-- Who claimed which task and when, and who else wrote to it: told by the database, not by the daemon.
create schema soak;

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

-- Whoever changes or ends what is held must hold it: intake neither closes a task nor takes its turn while it is held.
create function soak.witness() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
declare
    holder text;
begin
    if tg_op = 'UPDATE' and new.lease_token <> old.lease_token then
        insert into soak.claims (task_id, token, at, login)
        values (new.task_id, new.lease_token, clock_timestamp(), session_user);
        return null;
    end if;
    if tg_op = 'UPDATE'
       and (new.running_job_id, new.uncertain_since) is not distinct from (old.running_job_id, old.uncertain_since)
       and (old.lease_until is null or new.lease_until is not null) then
        return null;
    end if;
    if tg_op = 'DELETE' and old.lease_until is null then
        return null;
    end if;
    select c.login into holder from soak.claims c where c.task_id = old.task_id and c.token = old.lease_token;
    if holder is distinct from session_user then
        insert into soak.strange_writes (task_id, at, what)
        values (old.task_id, clock_timestamp(),
                format('%s by %s over the claim of %s', lower(tg_op), session_user, holder));
    end if;
    return null;
end
$$;

create trigger soak_witness
    after update or delete on reconciler.turns
    for each row execute function soak.witness();
