-- A reason must be given in the same statement: a note that was written before does not count.
create function reconciler.refuse_without_reason(a reconciler.manual_actions, p_status text, p_note text,
                                                 p_note_at timestamptz)
    returns void
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
begin
    if reconciler.is_blank(p_note) or p_note_at is not distinct from a.note_at then
        raise exception 'manual action % becomes % only with a note that says why, and %', a.id, p_status,
                        case when reconciler.is_blank(p_note) then 'there is none'
                             else 'its note is older than this change: it was written at ' || reconciler.moment(a.note_at)
                        end
            using errcode = 'check_violation',
                  hint = format('update reconciler.manual_actions set status = %L, note = ''...'' where id = %s',
                                p_status, a.id);
    end if;
    if p_status = 'returned' and a.operation = 'reconnect' then
        raise exception 'manual action % asks to fix a login, which automation cannot do', a.id
            using errcode = 'P0409',
                  hint = 'Mark it done once the login is fixed.';
    end if;
end
$$;

comment on function reconciler.refuse_without_reason(reconciler.manual_actions, text, text, timestamptz) is
    'Refuses a dismissal or a return whose note was not written by the same statement (23514), and the return of an '
    'action of operation reconnect (P0409); otherwise returns nothing.';
