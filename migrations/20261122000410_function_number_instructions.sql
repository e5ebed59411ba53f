-- The instructions contain the command that marks the action done, and so its id, which only exists after the insert.
create function reconciler.number_instructions() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
begin
    new.instructions := replace(new.instructions, '{action}', new.id::text);
    new.shown := replace(new.shown::text, '{action}', new.id::text)::jsonb;
    return new;
end
$$;

create trigger instructions_name_the_action
    before insert on reconciler.manual_actions
    for each row execute function reconciler.number_instructions();
