-- Only retention may delete, which also binds the owner of the tables: its functions set this parameter while they run.
-- They do so by set_config: only a superuser may create a function with a parameter of ours in its definition.
create function reconciler.refuse_deletion() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
begin
    if coalesce(current_setting('reconciler.retention', true), '') <> 'on' then
        raise exception 'rows of % are deleted by retention only', tg_table_name
            using errcode = 'insufficient_privilege';
    end if;
    return null;
end
$$;

create trigger events_are_deleted_by_retention_only
    before delete on reconciler.events
    for each statement execute function reconciler.refuse_deletion();
