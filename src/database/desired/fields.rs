//! Where something stands in the spec, in the form in which the API server names fields. Pure.

use super::Rest;

impl Rest {
    /// The field of an application role.
    #[must_use]
    pub fn role_field(&self, name: &str) -> String {
        let place = self.roles.iter().position(|role| role.name == name);
        field("roles", place)
    }

    /// The field of a database.
    #[must_use]
    pub fn database_field(&self, name: &str) -> String {
        let place = self.listed.iter().position(|listed| listed == name);
        field("databases", place)
    }
}

fn field(list: &str, place: Option<usize>) -> String {
    match place {
        Some(place) => format!("spec.{list}[{place}]"),
        None => format!("spec.{list}"),
    }
}
