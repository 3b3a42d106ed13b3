//! Who can change a role: from PostgreSQL 16 on only those who hold ADMIN on it, which whoever makes a role gets. So who
//! has made the roles of a branch goes on to manage them, whichever database the spec lists first by now.
//!
//! Choosing is pure. The server is asked, because a branch keeps its roles where a record of ours is lost, and has them
//! from its parent before there is one.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{AssertSqlSafe, PgConnection};

use super::{Error, roles::IS_API_ROLE};

/// That a role can be changed by another, which was made through Neon's API: the operator can log in as that one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Administration {
    /// The role.
    pub role: String,
    /// Its comment: on our logins the mark of the object that owns them.
    pub mark: Option<String>,
    /// Who can change it.
    pub administrator: String,
}

/// Who can change which roles; nothing before PostgreSQL 16, where every role of Neon's API can change all others.
pub async fn list(connection: &mut PgConnection) -> Result<Vec<Administration>, Error> {
    let query = format!(
        "SELECT o.rolname::text, pg_catalog.shobj_description(o.oid, 'pg_authid'), r.rolname::text
         FROM pg_catalog.pg_auth_members a
         JOIN pg_catalog.pg_roles o ON o.oid = a.roleid AND NOT pg_catalog.starts_with(o.rolname::text, 'pg_')
         JOIN pg_catalog.pg_roles r ON r.oid = a.member
         WHERE a.admin_option AND r.rolcanlogin AND {IS_API_ROLE}
           AND pg_catalog.current_setting('server_version_num')::int >= 160000
         GROUP BY o.oid, o.rolname, r.rolname ORDER BY o.rolname, r.rolname"
    );
    let rows: Vec<(String, Option<String>, String)> = sqlx::query_as(AssertSqlSafe(query))
        .fetch_all(connection)
        .await?;
    let administration = |(role, mark, administrator)| Administration {
        role,
        mark,
        administrator,
    };
    Ok(rows.into_iter().map(administration).collect())
}

/// Who manages these groups and the logins that carry `mark`: whoever can change most of them, `otherwise` where
/// that is as good as any. Pure.
#[must_use]
pub fn manager(all: &[Administration], groups: &[String], mark: &str, otherwise: &str) -> String {
    let mut able: BTreeMap<&str, usize> = BTreeMap::from([(otherwise, 0)]);
    for one in all {
        if groups.contains(&one.role) || one.mark.as_deref() == Some(mark) {
            *able.entry(&one.administrator).or_default() += 1;
        }
    }
    let most = able
        .into_iter()
        .max_by_key(|(name, roles)| (*roles, *name == otherwise));
    most.map_or(otherwise, |(name, _)| name).to_owned()
}

/// Who can change one of these roles. Pure.
#[must_use]
pub fn administrators(all: &[Administration], roles: &[String]) -> BTreeSet<String> {
    let of_these = all.iter().filter(|one| roles.contains(&one.role));
    of_these.map(|one| one.administrator.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: &str = "sepulki ours";

    fn one(role: &str, mark: &str, administrator: &str) -> Administration {
        Administration {
            role: role.to_owned(),
            mark: Some(mark.to_owned()),
            administrator: administrator.to_owned(),
        }
    }

    #[test]
    fn who_can_change_most_of_ours_manages_them() {
        let app = one("app", "", "first");
        let login = one("app_g1", MARK, "first");
        let foreign = [one("x", "", "other"), one("y", "sepulki theirs", "other")];
        let by_hand = one("web", "", "other");
        let groups = ["app".to_owned(), "web".to_owned()];
        let rows: [(&[Administration], &str); 5] = [
            (&[], "now"),
            (&foreign, "now"),
            (
                &[app.clone(), foreign[0].clone(), foreign[1].clone()],
                "first",
            ),
            // of a role that is no longer listed
            (&[login.clone(), foreign[0].clone()], "first"),
            (&[app.clone(), by_hand.clone(), login], "first"),
        ];
        for (all, expected) in rows {
            assert_eq!(manager(all, &groups, MARK, "now"), expected, "{all:?}");
        }
        let even = [app, by_hand];
        assert_eq!(manager(&even, &groups, MARK, "first"), "first");
        assert_eq!(manager(&even, &groups, MARK, "other"), "other");
    }
}
