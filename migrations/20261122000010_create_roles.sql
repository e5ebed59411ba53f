-- A refusal has a code, so that a program can tell the kinds apart: check_violation for invalid input, no_data_found
-- for a missing row, and four codes of our own: P0403 (another person may do this, but not this one), P0409 (the row
-- is not in a state that allows it), P0410 (too late), P0412 (it is not what it was when the caller saw it).

-- Roles are cluster-wide: another database of the same server may have created them already.
do $$
declare
    wanted text;
begin
    foreach wanted in array array[
        'reconciler_daemon', 'reconciler_backend', 'reconciler_viewer', 'reconciler_operator',
        'reconciler_administrator', 'reconciler_definer'
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

-- The daemon takes the role of a person for whom it acts, and an administrator is an operator, too. The migration takes
-- reconciler_definer, to give views and functions to it.
do $$
declare
    given record;
    -- Since PostgreSQL 16 there are members that may not take the role.
    v_may constant text := case when current_setting('server_version_num')::integer >= 160000 then 'set' else 'member' end;
begin
    for given in
        select * from (values ('reconciler_viewer', 'reconciler_daemon'), ('reconciler_operator', 'reconciler_daemon'),
                              ('reconciler_administrator', 'reconciler_daemon'),
                              ('reconciler_operator', 'reconciler_administrator'),
                              ('reconciler_definer', current_user::text)) given (role, member)
    loop
        begin
            if not pg_has_role(given.member::name, given.role::name, v_may) then
                execute format('grant %I to %I', given.role, given.member);
            end if;
        exception
            when unique_violation then
                null; -- a migration of another database granted it first
            when insufficient_privilege then
                raise exception '% is not a member of % and % may not grant that', given.member, given.role, current_user
                    using hint = format('Let a role with CREATEROLE run: grant %I to %I;', given.role, given.member),
                          errcode = 'insufficient_privilege';
        end;
    end loop;
end
$$;

create schema if not exists reconciler;
