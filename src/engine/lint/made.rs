//! What the files that run together have made so far, and which of their statements touch nothing else. Pure.
//!
//! Nobody uses such a table yet, and all its rows come from the same files. Names are compared as they are written: what
//! `CREATE TABLE t` has made is not known as `public.t`. Told too much is better than told too little.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the parser has a case for every statement of PostgreSQL"
)]

use std::collections::BTreeMap;
use std::ops::Range;

use squawk_syntax::ast::{self, AlterTableAction, AstNode, NameLike, Stmt};

use super::{Found, Harm};

/// A table: its schema, where one is written, and its name.
type Table = (Option<String>, String);

/// How something came to be.
#[derive(Clone, Copy)]
struct Origin {
    /// The file that made it, counted from 0.
    file: usize,
    /// False for `IF NOT EXISTS`: it may have been there, with rows.
    sure: bool,
    /// Whether it goes with its session.
    temporary: bool,
}

/// Tables, columns and schemas that the files have made.
pub(super) struct Made {
    /// Whether all files are going to run, one after another.
    together: bool,
    file: usize,
    /// Whether this file has said what a name without a schema means.
    search_path_set: bool,
    tables: BTreeMap<Table, Origin>,
    columns: BTreeMap<(Table, String), Origin>,
    schemas: BTreeMap<String, Origin>,
}

/// What a statement, or a part of it, does to what was there before.
#[derive(Clone, Copy)]
struct Effect {
    /// Whether it holds up nobody.
    is_new: bool,
    /// Whether nothing can get lost.
    is_ours: bool,
}

/// The places of a file that touch tables; a part of a statement comes behind it.
pub(super) struct Touched(Vec<(Range<usize>, Effect)>);

impl Touched {
    /// Whether somebody may be harmed by what was found.
    pub(super) fn may_harm(&self, found: &Found) -> bool {
        let mut around = self.0.iter().rev();
        let effect = around
            .find(|(range, _)| range.contains(&found.range.start))
            .map(|(_, effect)| effect);
        effect.is_none_or(|effect| match found.harm {
            Harm::Holds => !effect.is_new,
            Harm::Loses | Harm::Breaks => !effect.is_ours,
            Harm::Fails | Harm::Regretted | Harm::Refused => true,
        })
    }
}

impl Made {
    /// Nothing yet.
    pub(super) fn new(together: bool) -> Self {
        Self {
            together,
            file: 0,
            search_path_set: false,
            tables: BTreeMap::new(),
            columns: BTreeMap::new(),
            schemas: BTreeMap::new(),
        }
    }

    /// Follows the next file.
    pub(super) fn follow(&mut self, file: &ast::SourceFile) -> Touched {
        let mut touched = Vec::new();
        for stmt in file.stmts() {
            if let Some(effect) = self.effect(&stmt) {
                touched.push((range(&stmt), effect));
            }
            if let Stmt::AlterTable(alter) = &stmt {
                self.alter(alter, &mut touched);
            }
            self.take_in(&stmt);
        }
        self.tables.retain(|_, origin| !origin.temporary);
        if std::mem::take(&mut self.search_path_set) {
            self.forget_bare_names();
        }
        self.file += 1;
        Touched(touched)
    }

    /// What a statement as a whole does to tables that were there before it.
    fn effect(&self, stmt: &Stmt) -> Option<Effect> {
        Some(match stmt {
            Stmt::AlterTable(alter) => self.table(&written(alter.table_relation_name())?),
            Stmt::CreateIndex(create) => self.table(&written(create.table_relation_name())?),
            Stmt::DropTable(drop) => {
                self.tables(drop.table_name_refs().map(|t| named(t.path_ref())))
            }
            Stmt::Truncate(truncate) => {
                let tables = truncate.table_list()?.table_relation_names();
                self.tables(tables.map(|table| written(Some(table))))
            }
            Stmt::Delete(delete) => self.table(&relation(delete.relation_name())?),
            Stmt::Update(update) => {
                let table = relation(update.relation_name())?;
                let columns = set_columns(update);
                let whole = self.table(&table);
                let mut columns = columns.iter().map(|column| self.column(&table, column));
                let is_ours = whole.is_ours || columns.all(|column| column.is_ours);
                Effect { is_ours, ..whole }
            }
            Stmt::Lock(lock) => {
                let relations = lock.relation_list()?.relation_names();
                self.tables(relations.map(|name| relation(Some(name))))
            }
            Stmt::Vacuum(vacuum) => {
                let tables = vacuum.table_and_columns_list()?.table_and_columnss();
                self.tables(tables.map(|table| written(table.table_relation_name())))
            }
            Stmt::Cluster(cluster) => self.table(&named(cluster.table_name_ref()?.path_ref())?),
            Stmt::Refresh(refresh) => self.table(&named(refresh.view_ref()?.path_ref())?),
            Stmt::DropSchema(drop) => {
                let mut schemas = drop.schema_refs();
                let is_ours = schemas.all(|s| self.is_ours(self.schemas.get(&s.text())));
                Effect {
                    is_new: is_ours,
                    is_ours,
                }
            }
            Stmt::Reindex(reindex) => match reindex.reindex_target()? {
                ast::ReindexTarget::ReindexTargetTable(target) => {
                    self.table(&named(target.table_name_ref()?.path_ref())?)
                }
                _ => return None,
            },
            _ => return None,
        })
    }

    /// Follows the parts of an ALTER TABLE.
    fn alter(&mut self, alter: &ast::AlterTable, touched: &mut Vec<(Range<usize>, Effect)>) {
        let Some(table) = written(alter.table_relation_name()) else {
            return;
        };
        for action in alter.actions() {
            match &action {
                AlterTableAction::AddColumn(add) => {
                    if let Some(column) = add.column_name() {
                        let origin = self.origin(add.if_not_exists().is_none(), false);
                        let key = (table.clone(), column.text());
                        self.columns.entry(key).or_insert(origin);
                    }
                }
                AlterTableAction::DropColumn(drop) => {
                    if let Some(column) = drop.column_name_ref() {
                        let column = column.text();
                        touched.push((range(&action), self.column(&table, &column)));
                        self.columns.remove(&(table.clone(), column));
                    }
                }
                AlterTableAction::RenameColumn(rename) => {
                    if let Some((old, new)) = rename.column_name_ref().zip(rename.column_name()) {
                        let origin = self.columns.remove(&(table.clone(), old.text()));
                        let key = (table.clone(), new.text());
                        self.columns.extend(origin.map(|origin| (key, origin)));
                    }
                }
                AlterTableAction::TableRenameTo(rename) => {
                    if let Some(new) = rename.table_name().and_then(|name| made_as(&name)) {
                        self.rename(&table, (table.0.clone(), new.1));
                    }
                }
                // has other tables' rows from now on, or another name
                AlterTableAction::AttachPartition(_) | AlterTableAction::SetSchema(_) => {
                    self.forget(&table);
                }
                AlterTableAction::InheritTable(inherit) => {
                    let parent = inherit.table_name_ref();
                    if let Some(parent) = parent.and_then(|parent| named(parent.path_ref())) {
                        self.forget(&parent);
                    }
                }
                _ => {}
            }
        }
    }

    /// Remembers what a statement makes, and forgets what it drops.
    fn take_in(&mut self, stmt: &Stmt) {
        match stmt {
            Stmt::CreateTable(create) => {
                let sure = create.if_not_exists().is_none();
                self.make(create.table_name(), sure, create.persistence().as_ref());
            }
            Stmt::CreateTableAs(create) => {
                let sure = create.if_not_exists().is_none();
                self.make(create.table_name(), sure, create.persistence().as_ref());
            }
            Stmt::CreateMaterializedView(create) => {
                let sure = create.if_not_exists().is_none();
                if let Some(view) = create.view().and_then(|view| made_by(view.path())) {
                    let origin = self.origin(sure, false);
                    self.tables.entry(view).or_insert(origin);
                }
            }
            Stmt::SelectInto(select) => {
                if let Some(into) = select.into_clause() {
                    self.make(into.table_name(), true, into.persistence().as_ref());
                }
            }
            Stmt::CreateSchema(create) => {
                let sure = create.if_not_exists().is_none();
                if let Some(ast::CreateSchemaTarget::NamedSchema(named)) =
                    create.create_schema_target()
                    && let Some(schema) = named.schema()
                {
                    let origin = self.origin(sure, false);
                    self.schemas.entry(schema.text()).or_insert(origin);
                }
            }
            Stmt::DropTable(drop) => {
                let tables = drop.table_name_refs().filter_map(|t| named(t.path_ref()));
                tables.for_each(|table| self.forget(&table));
            }
            Stmt::DropSchema(drop) => {
                for schema in drop.schema_refs().map(|schema| schema.text()) {
                    self.tables
                        .retain(|table, _| table.0.as_ref() != Some(&schema));
                    self.schemas.remove(&schema);
                }
            }
            Stmt::Set(set)
                if set
                    .syntax()
                    .text()
                    .to_string()
                    .to_ascii_lowercase()
                    .contains("search_path") =>
            {
                self.search_path_set = true;
                self.forget_bare_names();
            }
            _ => {}
        }
    }

    fn make(
        &mut self,
        name: Option<ast::TableName>,
        sure: bool,
        persistence: Option<&ast::Persistence>,
    ) {
        let temporary = matches!(persistence, Some(ast::Persistence::Temp(_)));
        if let Some(table) = name.and_then(|name| made_as(&name)) {
            let origin = self.origin(sure, temporary);
            self.tables.entry(table).or_insert(origin);
        }
    }

    fn rename(&mut self, old: &Table, new: Table) {
        let origin = self.tables.remove(old);
        let (moved, kept) = std::mem::take(&mut self.columns)
            .into_iter()
            .partition::<Vec<_>, _>(|((table, _), _)| table == old);
        self.columns.extend(kept);
        self.forget(&new);
        let moved = moved.into_iter();
        self.columns
            .extend(moved.map(|((_, column), origin)| ((new.clone(), column), origin)));
        self.tables.extend(origin.map(|origin| (new, origin)));
    }

    fn forget(&mut self, table: &Table) {
        self.tables.remove(table);
        self.columns.retain(|(of, _), _| of != table);
    }

    /// A name without a schema may mean another table from now on.
    fn forget_bare_names(&mut self) {
        self.tables.retain(|(schema, _), _| schema.is_some());
        self.columns.retain(|((schema, _), _), _| schema.is_some());
    }

    fn origin(&self, sure: bool, temporary: bool) -> Origin {
        Origin {
            file: self.file,
            sure,
            temporary,
        }
    }

    fn is_ours(&self, origin: Option<&Origin>) -> bool {
        origin.is_some_and(|o| o.sure && (self.together || o.file == self.file))
    }

    fn table(&self, table: &Table) -> Effect {
        let origin = self.tables.get(table);
        Effect {
            is_new: origin.is_some(),
            is_ours: self.is_ours(origin),
        }
    }

    fn column(&self, table: &Table, column: &str) -> Effect {
        let whole = self.table(table);
        let column = self.columns.get(&(table.clone(), column.to_owned()));
        Effect {
            is_ours: whole.is_ours || self.is_ours(column),
            ..whole
        }
    }

    fn tables(&self, tables: impl Iterator<Item = Option<Table>>) -> Effect {
        let all = tables.map(|table| table.as_ref().map(|table| self.table(table)));
        let nothing_else = Effect {
            is_new: true,
            is_ours: true,
        };
        all.fold(nothing_else, |all, one| Effect {
            is_new: all.is_new && one.is_some_and(|one| one.is_new),
            is_ours: all.is_ours && one.is_some_and(|one| one.is_ours),
        })
    }
}

fn range(node: &impl AstNode) -> Range<usize> {
    let range = node.syntax().text_range();
    range.start().into()..range.end().into()
}

fn made_as(name: &ast::TableName) -> Option<Table> {
    made_by(name.path())
}

fn made_by(path: Option<ast::Path>) -> Option<Table> {
    let path = path?;
    let schema = path.qualifier().and_then(|schema| schema.segment());
    Some((schema.map(|schema| schema.text()), path.segment()?.text()))
}

fn named(path: Option<ast::PathRef>) -> Option<Table> {
    let path = path?;
    let schema = path.qualifier().and_then(|schema| schema.segment());
    Some((schema.map(|schema| schema.text()), path.segment()?.text()))
}

fn written(name: Option<ast::TableRelationName>) -> Option<Table> {
    named(name?.table_name_ref()?.path_ref())
}

fn relation(name: Option<ast::RelationName>) -> Option<Table> {
    named(name?.relation_name_ref()?.path_ref())
}

/// The columns that an UPDATE sets.
fn set_columns(update: &ast::Update) -> Vec<String> {
    let list = update.set_clause().and_then(|set| set.set_column_list());
    let all = list.into_iter().flat_map(|list| list.set_columns());
    let targets = all.flat_map(|set| match set {
        ast::SetColumn::SetSingleColumn(one) => one.column_target().into_iter().collect(),
        ast::SetColumn::SetMultipleColumns(many) => {
            let list = many.column_target_list().into_iter();
            list.flat_map(|list| list.column_targets())
                .collect::<Vec<_>>()
        }
    });
    let names = targets.filter_map(|target| target.name());
    names.map(|name| name.text()).collect()
}

#[cfg(test)]
mod tests;
