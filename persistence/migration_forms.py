"""The kinds of statement that migrations know, one pattern each over a statement's shape.

A shape (migration_reading.py) is the statement in lower case with single spaces, '' for literals
and (n) for what stands between parentheses. The first pattern that matches as a whole counts.
"""

from __future__ import annotations

import re
from typing import NamedTuple

PART = r'(?:[\w$]+|"[\w-]+")'
NAME = rf"{PART}(?:\.{PART})?"
GROUP = r"\(\d+\)"


class Form(NamedTuple):
    """One kind of statement or ALTER TABLE action.

    `lock` is the strongest lock on `table`; `alone` says that the server refuses it in a
    transaction.
    """

    kind: str
    pattern: re.Pattern[str]
    lock: str = ""
    alone: bool = False


def _form(kind: str, pattern: str, lock: str = "", *, alone: bool = False) -> Form:
    return Form(kind, re.compile(pattern), lock, alone)


EXCLUSIVE, SHARE_ROW, SHARE_UPDATE = (
    "ACCESS EXCLUSIVE",
    "SHARE ROW EXCLUSIVE",
    "SHARE UPDATE EXCLUSIVE",
)
_COLUMN = rf"alter (?:column )?(?P<column>{PART})"

STATEMENTS = (
    _form("session", r".*\\.*"),
    _form(
        "session",
        r"(?:begin|start|commit|end|rollback|abort|savepoint|release|prepare|reset|discard|copy)\b.*"
        r"|set (?!local ).*|create (?:or replace )?(?:global |local )?temp(?:orary)? .*",
    ),
    _form("set local", r"set local (?P<name>[\w.]+) .*"),
    _form(
        "create table",
        rf"create table (?P<guard>if not exists )?(?P<table>{NAME}) (?P<body>{GROUP})"
        rf"(?: with {GROUP})?",
    ),
    _form(
        "create index concurrently",
        rf"create (?P<unique>unique )?index concurrently (?P<guard>if not exists )?"
        rf"(?:(?P<name>{NAME}) )?on (?:only )?(?P<table>{NAME})(?: using \w+)? (?P<keys>{GROUP}).*",
        SHARE_UPDATE,
        alone=True,
    ),
    _form(
        "create index",
        rf"create (?P<unique>unique )?index (?:if not exists )?(?:(?P<name>{NAME}) )?"
        rf"on (?:only )?(?P<table>{NAME})(?: using \w+)? (?P<keys>{GROUP}).*",
        "SHARE",
    ),
    _form(
        "create routine",
        rf"create (?P<replace>or replace )?(?:function|procedure) (?P<name>{NAME}) "
        rf"(?P<arguments>{GROUP})(?: returns (?P<returns>(?:setof |table )?\S+))?.*",
    ),
    _form(
        "create trigger",
        rf"create (?:or replace )?(?:constraint )?trigger (?P<name>{PART}) .*? on (?P<table>{NAME})"
        r" .*",
        SHARE_ROW,
    ),
    _form("create type", rf"create type {NAME} as (?:enum |range )?{GROUP}"),
    _form("create domain", rf"create domain {NAME} (?P<definition>.*)"),
    _form("create sequence", rf"create sequence (?:if not exists )?{NAME}.*"),
    _form(
        "create view", rf"create (?:or replace )?view {NAME}(?: {GROUP})?(?: with {GROUP})? as .*"
    ),
    _form("create extension", rf"create extension (?:if not exists )?{PART}.*"),
    _form("create statistics", rf"create statistics (?:if not exists )?{NAME} .*"),
    _form(
        "add value", rf"alter type {NAME} add value (?:if not exists )?''(?: (?:before|after) '')?"
    ),
    _form("comment", r"comment on .*"),
    _form(
        "insert values",
        rf"insert into (?P<table>{NAME})(?: {GROUP})?(?: overriding system value)? values "
        rf"{GROUP}(?: , {GROUP})*(?: on conflict(?: {GROUP})? do nothing)?",
        "ROW EXCLUSIVE",
    ),
    _form(
        "data",
        rf"(?:insert into|update|merge into) (?:only )?(?P<table>{NAME}) .*",
        "ROW EXCLUSIVE",
    ),
    _form("do", r"do .*"),
    _form("analyze", rf"analyze (?P<table>{NAME})(?: {GROUP})?", SHARE_UPDATE),
    _form(
        "vacuum",
        rf"vacuum(?: (?P<options>{GROUP}))?(?: analyze)? (?!full\b|freeze\b|verbose\b|analyze\b)"
        rf"(?P<table>{NAME})(?: {GROUP})?",
        SHARE_UPDATE,
        alone=True,
    ),
    _form(
        "reindex concurrently",
        rf"reindex (?P<of>index|table) concurrently (?P<table>{NAME})",
        SHARE_UPDATE,
        alone=True,
    ),
    _form("rewrite", r"vacuum\b.*", EXCLUSIVE, alone=True),
    _form("rewrite", r"(?:cluster|reindex)\b.*", EXCLUSIVE),
    _form(
        "drop index concurrently",
        rf"drop index concurrently (?P<guard>if exists )?(?P<name>{NAME}).*",
        alone=True,
    ),
    _form(
        "drop",
        rf"(?:drop table|truncate(?: table)?) (?:if exists )?(?P<table>{NAME})\b.*",
        EXCLUSIVE,
    ),
    _form("drop", r"(?:drop|truncate|delete)\b.*"),
    _form("rename", r"alter (?!table ).* rename\b.*"),
)

ACTIONS = (
    _form(
        "add constraint",
        rf"add (?P<definition>(?:constraint {PART} )?(?:foreign key|references)\b.*)",
        SHARE_ROW,
    ),
    _form(
        "add constraint",
        rf"add (?P<definition>(?:constraint {PART} )?(?:check|unique|primary key|exclude)\b.*)",
        EXCLUSIVE,
    ),
    _form(
        "add column",
        rf"add (?!constraint\b)(?:column )?(?:if not exists )?(?P<definition>{PART} \S.*)",
        EXCLUSIVE,
    ),
    _form("validate", rf"validate constraint (?P<name>{PART})", SHARE_UPDATE),
    _form("set default", rf"{_COLUMN} set default .*", EXCLUSIVE),
    _form("set not null", rf"{_COLUMN} set not null", EXCLUSIVE),
    _form(
        "tune",
        rf"alter (?:column )?{PART} set (?:statistics .*|{GROUP})|(?:re)?set {GROUP}",
        SHARE_UPDATE,
    ),
    _form("retype", rf"{_COLUMN} (?:set data )?type .*", EXCLUSIVE),
    _form("drop", rf"detach partition {NAME} concurrently", SHARE_UPDATE, alone=True),
    _form("drop", rf"(?:drop|detach)\b.*|{_COLUMN} drop .*", EXCLUSIVE),
    _form("rename", r"(?:rename|set schema)\b.*", EXCLUSIVE),
    _form("rewrite", r"set (?:logged|unlogged|tablespace|access method)\b.*", EXCLUSIVE),
    _form("disable trigger", rf"disable trigger (?P<name>{PART})", SHARE_ROW),
    _form("enable trigger", r"enable (?:always |replica )?trigger .*", SHARE_ROW),
)
