//! How an object stands, as its own status tells. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::api::{ConditionType, NeonDatabase, NeonProject, SepulkiMigration, find_condition};

/// An object that carries conditions.
pub trait Conditions {
    /// The conditions; none before the first look.
    fn conditions(&self) -> &[Condition];
    /// The generation that they speak of.
    fn is_observed(&self) -> bool;

    /// The condition of this type; none before the first look.
    fn condition(&self, type_: ConditionType) -> Option<&Condition> {
        find_condition(self.conditions(), type_)
    }

    /// The condition that sums the others up; none before the first look.
    fn ready(&self) -> Option<&Condition> {
        self.condition(ConditionType::Ready)
    }

    /// Whether this very generation was found to be as asked.
    fn is_settled(&self) -> bool {
        self.is_observed() && self.ready().is_some_and(|c| c.status == "True")
    }
}

impl Conditions for NeonProject {
    fn conditions(&self) -> &[Condition] {
        self.status
            .as_ref()
            .map_or(&[], |status| &status.conditions)
    }

    fn is_observed(&self) -> bool {
        self.status
            .as_ref()
            .map(|status| status.observed_generation)
            == self.metadata.generation
    }
}

impl Conditions for NeonDatabase {
    fn conditions(&self) -> &[Condition] {
        self.status
            .as_ref()
            .map_or(&[], |status| &status.conditions)
    }

    fn is_observed(&self) -> bool {
        self.status
            .as_ref()
            .map(|status| status.observed_generation)
            == self.metadata.generation
    }
}

impl Conditions for SepulkiMigration {
    fn conditions(&self) -> &[Condition] {
        self.status
            .as_ref()
            .map_or(&[], |status| &status.conditions)
    }

    fn is_observed(&self) -> bool {
        self.status
            .as_ref()
            .map(|status| status.observed_generation)
            == self.metadata.generation
    }
}
