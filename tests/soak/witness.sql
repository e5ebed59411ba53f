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

create function soak.witness() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
declare
    holder text;
begin
    if new.lease_token <> old.lease_token then
        insert into soak.claims (task_id, token, at, login)
        values (new.id, new.lease_token, clock_timestamp(), session_user);
        return null;
    end if;
    -- Intake closes losers, which nobody may hold.
    if new.closed_reason = 'a later intent won' then
        if old.lease_until is not null then
            insert into soak.strange_writes (task_id, at, what)
            values (new.id, clock_timestamp(), 'superseded by intake while it was held');
        end if;
        return null;
    end if;
    if (new.state, new.attempts, new.running_job_id, new.uncertain_since, new.closed_at)
           is distinct from (old.state, old.attempts, old.running_job_id, old.uncertain_since, old.closed_at)
       or old.lease_until is not null and new.lease_until is null then
        select c.login into holder from soak.claims c where c.task_id = new.id and c.token = new.lease_token;
        if holder is distinct from session_user then
            insert into soak.strange_writes (task_id, at, what)
            values (new.id, clock_timestamp(),
                    format('%s wrote %s over the claim of %s', session_user, new.state, holder));
        end if;
    end if;
    return null;
end
$$;

create trigger soak_witness
    after update on reconciler.automation_tasks
    for each row execute function soak.witness();
