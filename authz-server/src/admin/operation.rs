//! What an operation is: all that can be said of it without carrying it out.

use std::borrow::Cow;

use utoipa::ToSchema;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{Ref, RefOr, Schema};

use super::ask::{Ask, Reply};
use super::right::{Noun, Right};

/// How an operation is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Method {
    Get,
    /// `POST` that reads: what it asks about must not stand in an address.
    Ask,
    Post,
    /// `POST` that comes to the same however often it is sent.
    Again,
    Patch,
    Delete,
}

impl Method {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Ask | Self::Post | Self::Again => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// What it does to its noun.
    pub(super) fn right(self) -> Right {
        match self {
            Self::Get | Self::Ask => Right::Read,
            Self::Post | Self::Again | Self::Patch | Self::Delete => Right::Write,
        }
    }
}

/// A parameter of the query.
#[derive(Debug)]
pub(crate) struct Parameter {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) kind: Kind,
}

/// What a parameter can be.
#[derive(Debug)]
pub(crate) enum Kind {
    Text,
    /// Text that must be there.
    Needed,
    /// What an earlier page said.
    Cursor,
    Words(&'static [&'static str]),
    /// From 1 to this.
    Number(u32),
}

/// The form of a body.
#[derive(Clone, Copy)]
pub(crate) struct Form {
    pub(super) name: fn() -> Cow<'static, str>,
    pub(super) schema: fn() -> RefOr<Schema>,
    pub(super) parts: fn(&mut Vec<(String, RefOr<Schema>)>),
}

impl Form {
    pub(super) const fn of<T: ToSchema>() -> Self {
        Self {
            name: T::name,
            schema: T::schema,
            parts: T::schemas,
        }
    }
}

impl Form {
    /// A page of a list ([`super::Page`]).
    pub(super) const fn page_of<T: ToSchema>() -> Self {
        Self {
            name: page_name::<T>,
            schema: page_schema::<T>,
            parts: page_parts::<T>,
        }
    }
}

fn page_name<T: ToSchema>() -> Cow<'static, str> {
    Cow::Owned(format!("PageOf{}", T::name()))
}

fn page_schema<T: ToSchema>() -> RefOr<Schema> {
    let items = ArrayBuilder::new().items(Ref::from_schema_name(T::name()));
    let cursor = ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .description(Some("Asks for what follows; not there on the last page"));
    let page = ObjectBuilder::new()
        .property("items", items)
        .required("items")
        .property("next_cursor", cursor);
    RefOr::T(page.build().into())
}

fn page_parts<T: ToSchema>(parts: &mut Vec<(String, RefOr<Schema>)>) {
    T::schemas(parts);
    parts.push((T::name().into_owned(), T::schema()));
}

/// One thing that can be asked for.
pub(crate) struct Operation {
    pub(crate) method: Method,
    /// Below the base of the API; `{id}` stands for an id ([`super::path_of`]).
    pub(crate) path: &'static str,
    /// What programs call it.
    pub(crate) name: &'static str,
    /// What people call it.
    pub(super) summary: &'static str,
    pub(super) noun: Noun,
    pub(super) query: &'static [Parameter],
    /// The body that it takes.
    pub(super) takes: Option<Form>,
    /// The status and the body of a good answer.
    pub(super) gives: (u16, Option<Form>),
    /// Whether it changes what somebody has seen, and wants to know what that was.
    pub(super) is_conditional: bool,
    /// Statuses of its own refusals, besides those that any operation has.
    pub(super) refuses: &'static [u16],
    pub(super) run: for<'a> fn(&'a Ask<'a>) -> Reply<'a>,
}

impl Operation {
    /// What it does to its noun.
    pub(super) fn right(&self) -> Right {
        self.method.right()
    }

    /// Whether something is said in its body.
    pub(crate) fn has_body(&self) -> bool {
        self.takes.is_some()
    }

    /// The names of its parameters.
    pub(super) fn known(&self) -> Vec<&'static str> {
        self.query.iter().map(|parameter| parameter.name).collect()
    }

    /// Whether a repetition of it can be told from a second request.
    pub(super) fn is_repeatable(&self) -> bool {
        self.method == Method::Post
    }
}

/// The parameters of every list.
pub(super) const LIMIT: Parameter = Parameter {
    name: "limit",
    what: "How many at most; 50 unless it is said",
    kind: Kind::Number(super::page::MOST),
};
pub(super) const CURSOR: Parameter = Parameter {
    name: "cursor",
    what: "The next_cursor of the page before",
    kind: Kind::Cursor,
};
