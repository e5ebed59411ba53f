-- Runs a statement for each id and says what became of it. A refusal for one of many is an answer and does not undo the
-- others; a refusal for a single one is an error. Rows are taken in the order of their ids, as everybody does.
-- The statement gets the id as $1 and two texts as $2 and $3, runs with the privileges of the caller, and returns what
-- the row became.
create function reconciler.answer_each(p_subject text, p_ids text[], p_statement text, p_first text default null,
                                       p_second text default null, p_is_one_of_many boolean default false)
    returns table (id text, became text, refused text)
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
declare
    v_ids text[] := array(select e from unnest(p_ids) e where e is not null group by e order by length(e), e);
begin
    foreach id in array v_ids loop
        became := null;
        refused := null;
        begin
            execute p_statement into became using id, p_first, p_second;
            if became is null then
                raise exception 'there is no % %', p_subject, id using errcode = 'no_data_found';
            end if;
        exception
            when sqlstate 'P0403' or sqlstate 'P0409' or sqlstate 'P0410' or no_data_found or check_violation then
                if cardinality(v_ids) = 1 and not p_is_one_of_many then
                    raise;
                end if;
                get stacked diagnostics refused = message_text;
        end;
        return next;
    end loop;
end
$$;

comment on function reconciler.answer_each(text, text[], text, text, text, boolean) is
    'Runs a statement for each id with the privileges of the caller, and returns what each row became or why it was '
    'refused. If there is only one id, a refusal is an error.';
