-- A note with the same text as before also counts as new: the trigger fires whenever a statement writes the column.
create function reconciler.date_note() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
begin
    new.note_at := case when new.note is not null then clock_timestamp() end;
    return new;
end
$$;
