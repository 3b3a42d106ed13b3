//! Logins of ours that nobody should use any more. Runs as the management owner.

use sqlx::{AssertSqlSafe, Executor, PgConnection};

use super::{
    Class, Error, ddl, isolation,
    roles::{self, RoleFact, generation},
};

/// A group that has logins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The group.
    pub group: String,
    /// Logins of it that are in use; where none is known, the newest is.
    pub logins: Vec<String>,
}

/// Logins that are kept and were made for an earlier life of the branch, as after a restore in place, carry `mark` from now
/// on: whoever uses them goes on. So do those of that name that came with the parent's data and are closed, as after a reset:
/// nothing forces those who use ours to another one.
///
/// # Errors
/// None where a login is another role's to change: then it is left, and another one is made in its place.
pub async fn take_along(
    connection: &mut PgConnection,
    mark: &str,
    kept: &[Kept],
) -> Result<(), Error> {
    let facts = roles::list(connection).await?;
    for login in from_earlier(&facts, mark, kept) {
        match roles::mark(connection, &login, mark).await {
            Err(error) if error.class == Class::Denied => {}
            answer => answer?,
        }
    }
    Ok(())
}

/// See [`take_along`]. Pure.
#[must_use]
pub fn from_earlier(facts: &[RoleFact], mark: &str, kept: &[Kept]) -> Vec<String> {
    let is_closed_copy = |fact: &&RoleFact| !fact.can_login && is_copied(fact, mark);
    let copies = facts.iter().filter(is_closed_copy);
    let in_use = of_earlier(facts, mark).chain(copies);
    let in_use = in_use.filter(|fact| is_in_use(kept, &fact.name));
    in_use.map(|fact| fact.name.clone()).collect()
}

/// Whether a login was made for another branch, and so came with a copy of its data.
fn is_copied(fact: &RoleFact, mark: &str) -> bool {
    let word = |mark: &str| mark.split_once(' ').map(|(word, _)| word.to_owned());
    let is_other = |other: &str| other != mark && !is_earlier(other, mark);
    let of_ours = |other: &str| word(other).is_some() && word(other) == word(mark);
    fact.mark
        .as_deref()
        .is_some_and(|other| of_ours(other) && is_other(other))
}

/// Logins that were made for an earlier life of the branch.
fn of_earlier<'a>(facts: &'a [RoleFact], mark: &'a str) -> impl Iterator<Item = &'a RoleFact> {
    let is_earlier = |fact: &&RoleFact| fact.mark.as_deref().is_some_and(|m| is_earlier(m, mark));
    facts.iter().filter(is_earlier)
}

fn is_in_use(kept: &[Kept], login: &String) -> bool {
    kept.iter().any(|kept| kept.logins.contains(login))
}

/// Closes every login that carries `mark` and is not kept: no new session, and the open ones end.
///
/// # Errors
/// `Transient` if sessions did not end in time; do it again.
pub async fn close_leftovers(
    connection: &mut PgConnection,
    mark: &str,
    kept: &[Kept],
) -> Result<(), Error> {
    let facts = roles::list(connection).await?;
    for login in leftovers(&facts, mark, kept) {
        close(connection, &login).await?;
    }
    Ok(())
}

async fn close(connection: &mut PgConnection, login: &str) -> Result<(), Error> {
    isolation::retire(connection, login).await?;
    end_sessions(connection, login).await
}

/// Which logins carry `mark` and belong to no group that is kept, or are older than all that are in use: one that is newer
/// was made by somebody who knows more. Of a life of the branch before this one, which only a restore in place leaves behind,
/// nothing is kept but what is in use. Those that are closed already are among them, because a run before may have ended
/// between closing one and ending its sessions. Pure.
#[must_use]
pub fn leftovers(facts: &[RoleFact], mark: &str, kept: &[Kept]) -> Vec<String> {
    let ours: Vec<&RoleFact> = facts
        .iter()
        .filter(|fact| fact.mark.as_deref() == Some(mark))
        .collect();
    let oldest_kept = |kept: &Kept| {
        let known = kept.logins.iter();
        let known = known.filter_map(|login| generation(&kept.group, login));
        let newest = || {
            let all = ours.iter();
            all.filter_map(|fact| generation(&kept.group, &fact.name))
                .max()
        };
        known.min().or_else(newest)
    };
    let is_kept = |fact: &RoleFact| {
        kept.iter().any(|kept| {
            let number = generation(&kept.group, &fact.name);
            number.is_some() && number >= oldest_kept(kept)
        })
    };
    let earlier = of_earlier(facts, mark).filter(|fact| !is_in_use(kept, &fact.name));
    let given_up = ours.iter().copied().filter(|fact| !is_kept(fact));
    given_up
        .chain(earlier)
        .map(|fact| fact.name.clone())
        .collect()
}

/// Whether a mark is of the same object and branch as another, and of another life: the last word tells them apart.
fn is_earlier(mark: &str, now: &str) -> bool {
    let (Some((whose, life)), Some((ours, ours_now))) =
        (mark.rsplit_once(' '), now.rsplit_once(' '))
    else {
        return false;
    };
    whose == ours && life != ours_now
}

/// Closes a login for good: no new session, and the open ones end. Answers in which databases something of it has to be
/// given up before it can be dropped; none where it does not exist or does not carry `mark`.
///
/// # Errors
/// `Transient` if sessions did not end in time; do it again.
pub async fn begin_dropping(
    connection: &mut PgConnection,
    login: &str,
    mark: &str,
) -> Result<Option<Vec<String>>, Error> {
    let facts = roles::list(connection).await?;
    let ours = |fact: &RoleFact| fact.name == login && fact.mark.as_deref() == Some(mark);
    if !facts.iter().any(ours) {
        return Ok(None);
    }
    close(connection, login).await?;
    let databases = sqlx::query_scalar(
        "SELECT DISTINCT d.datname::text FROM pg_catalog.pg_shdepend s
         JOIN pg_catalog.pg_roles r ON r.oid = s.refobjid AND r.rolname = $1
         JOIN pg_catalog.pg_database d ON d.oid = s.dbid AND d.datallowconn
         WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass ORDER BY 1",
    );
    Ok(Some(databases.bind(login).fetch_all(connection).await?))
}

/// In the database of this session: what the login made, by leaving its group, becomes the group's, and it loses its
/// rights. From PostgreSQL 16 on this takes a member of both; the session is one as long as this takes.
pub async fn give_up(connection: &mut PgConnection, group: &str, login: &str) -> Result<(), Error> {
    let mut transaction = ddl::begin(connection).await?;
    let result = reassign(&mut transaction, group, login).await;
    ddl::end(transaction, result).await
}

async fn reassign(connection: &mut PgConnection, group: &str, login: &str) -> Result<(), Error> {
    let values = [("sepulki.group", group), ("sepulki.login", login)];
    ddl::set_local(connection, &values).await?;
    connection.execute(REASSIGN).await?;
    Ok(())
}

const REASSIGN: &str = r"DO $do$
DECLARE
    v_group text := current_setting('sepulki.group');
    v_login text := current_setting('sepulki.login');
    v_needed text[] := ARRAY(SELECT r FROM unnest(ARRAY[v_group, v_login]) r WHERE NOT pg_has_role(r, 'USAGE'));
    v_role text;
BEGIN
    FOREACH v_role IN ARRAY v_needed LOOP EXECUTE format('GRANT %I TO CURRENT_USER', v_role); END LOOP;
    EXECUTE format('REASSIGN OWNED BY %I TO %I', v_login, v_group);
    EXECUTE format('DROP OWNED BY %I', v_login);
    FOREACH v_role IN ARRAY v_needed LOOP EXECUTE format('REVOKE %I FROM CURRENT_USER', v_role); END LOOP;
END
$do$";

/// Drops a login that owns nothing any more.
pub async fn finish_dropping(connection: &mut PgConnection, login: &str) -> Result<(), Error> {
    let statement = format!("DROP ROLE {}", ddl::quote_identifier(login));
    connection.execute(AssertSqlSafe(statement)).await?;
    Ok(())
}

/// Ends the sessions that were opened with this login.
async fn end_sessions(connection: &mut PgConnection, login: &str) -> Result<(), Error> {
    let left: i64 = sqlx::query_scalar(
        // materialized: the sessions of others, which may not be ended, must be sorted out first
        "WITH s AS MATERIALIZED (
            SELECT a.pid FROM pg_catalog.pg_stat_activity a
            JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid AND r.rolname = $1)
         SELECT pg_catalog.count(*) FROM s WHERE NOT pg_catalog.pg_terminate_backend(s.pid, $2)",
    )
    .bind(login)
    .bind(isolation::TERMINATION_MILLISECONDS)
    .fetch_one(connection)
    .await?;
    if left == 0 {
        return Ok(());
    }
    Err(Error::new(
        Class::Transient,
        format!("{left} sessions of {login} have not ended yet"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: &str = "sepulki default/team/it br-it 2";

    fn login(name: &str, mark: Option<&str>, can_login: bool) -> RoleFact {
        RoleFact {
            name: name.to_owned(),
            can_login,
            superuser: false,
            api_role: false,
            mark: mark.map(str::to_owned),
            member_of: vec!["web".to_owned()],
        }
    }

    #[test]
    fn what_is_in_use_is_taken_along_from_an_earlier_life_and_from_a_closed_copy() {
        let kept = [Kept {
            group: "web".to_owned(),
            logins: vec!["web_g1".to_owned()],
        }];
        let taken = |name: &str, mark: Option<&str>, can_login: bool| {
            let facts = [login(name, mark, can_login)];
            !from_earlier(&facts, MARK, &kept).is_empty()
        };
        let (earlier, parents) = (
            "sepulki default/team/it br-it 1",
            "sepulki default/team/mother br-m 1",
        );
        assert!(taken("web_g1", Some(earlier), true));
        assert!(taken("web_g1", Some(earlier), false));
        assert!(taken("web_g1", Some(parents), false));
        // it works, so it is somebody's
        assert!(!taken("web_g1", Some(parents), true));
        assert!(!taken("web_g2", Some(parents), false));
        assert!(!taken("web_g1", Some("made by hand"), false));
        assert!(!taken("web_g1", None, false));
        assert!(!taken("web_g1", Some(MARK), false));
    }
}
