-- The old and the new value of each setting that changed.
create function reconciler.changed_settings(o reconciler.integrations, n reconciler.integrations) returns jsonb
    language sql immutable as
$$
    select jsonb_object_agg(key, jsonb_build_object('from', before.value, 'to', after.value))
    from jsonb_each(to_jsonb(o)) before
    join jsonb_each(to_jsonb(n)) after using (key)
    where key in ('kind', 'application', 'max_in_flight', 'starts_per_minute', 'own_account', 'administrator_roles',
                  'snapshot_every_s', 'four_eyes')
      and before.value is distinct from after.value
$$;
