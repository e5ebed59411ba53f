-- Nobody can check a name that is given beside a login. So the person is the login, whatever name it gives. Only people
-- who share the login of the daemon, as the command line in its container does, are told apart by their names: there the
-- person is the name, and the same person as a login of that name.
create function reconciler.is_same_person(p_one text, p_other text) returns boolean
    language sql stable as
$$
    select reconciler.person(p_one) = reconciler.person(p_other)
$$;

comment on function reconciler.is_same_person(text, text) is
    'Returns whether two actors are the same person, as kim via the login of the daemon and the login kim are; null if '
    'one of them is null.';
