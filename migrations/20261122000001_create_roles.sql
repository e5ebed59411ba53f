-- A refusal has a code, so that a program can tell the kinds apart: check_violation for invalid input, no_data_found
-- for a missing row, and three codes of our own: P0403 (another person may do this, but not this one), P0409 (the row
-- is not in a state that allows it), P0410 (too late).

-- Roles are cluster-wide: another database of the same server may have created them already.
do $$
declare
    wanted text;
begin
    foreach wanted in array array[
        'reconciler_daemon', 'reconciler_backend', 'reconciler_operator', 'reconciler_viewer'
    ] loop
        begin
            if not exists (select from pg_catalog.pg_roles where rolname = wanted) then
                execute format('create role %I nologin', wanted);
            end if;
        exception
            when duplicate_object or unique_violation then
                null; -- a migration of another database created it first
            when insufficient_privilege then
                raise exception 'role % does not exist and % may not create it', wanted, current_user
                    using hint = format('Let a role with CREATEROLE run: create role %I nologin;', wanted),
                          errcode = 'insufficient_privilege';
        end;
    end loop;
end
$$;

create schema if not exists reconciler;
