"""The tables of the schema "accounts" in which teams are kept."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from adapters.postgres.accounts.tables import SCHEMA, accounts
from adapters.postgres.schema import Id, Moment, metadata

teams = Table(
    "teams",
    metadata,
    Column("team_id", Id, primary_key=True),
    Column("name", Text, nullable=False),
    # As names are compared. Also of a team that is no more: nobody takes its place by taking its name.
    Column("name_key", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("website_url", Text, nullable=False),
    Column("languages", ARRAY(Text), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("create_time", Moment, nullable=False),
    Column("update_time", Moment, nullable=False),
    Column("delete_time", Moment),
    Index("teams_name_key_idx", "name_key", unique=True),
    schema=SCHEMA,
)

team_roles = Table(
    "team_roles",
    metadata,
    Column("team_id", Id, ForeignKey(teams.c.team_id, ondelete="CASCADE"), nullable=False),
    Column("role_id", Id, nullable=False),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False),
    # 1000 is the founder's.
    Column("weight", SmallInteger, nullable=False),
    Column("permissions", ARRAY(SmallInteger), nullable=False),
    PrimaryKeyConstraint("team_id", "role_id"),
    Index("team_roles_name_key_idx", "team_id", "name_key", unique=True),
    schema=SCHEMA,
)

team_members = Table(
    "team_members",
    metadata,
    Column("team_id", Id, nullable=False),
    Column("account_id", Id, ForeignKey(accounts.c.account_id, ondelete="CASCADE"), nullable=False, index=True),
    Column("role_id", Id, nullable=False),
    Column("nickname", Text, nullable=False),
    Column("duties", ARRAY(SmallInteger), nullable=False),
    Column("intern", Boolean, nullable=False),
    Column("vacation", Boolean, nullable=False),
    Column("join_time", Moment, nullable=False),
    Column("number", BigInteger, Identity(always=True), nullable=False),
    PrimaryKeyConstraint("team_id", "account_id"),
    ForeignKeyConstraint(["team_id", "role_id"], [team_roles.c.team_id, team_roles.c.role_id]),
    Index("team_members_role_idx", "team_id", "role_id"),
    schema=SCHEMA,
)

team_invitations = Table(
    "team_invitations",
    metadata,
    Column("team_id", Id, nullable=False),
    Column("account_id", Id, ForeignKey(accounts.c.account_id, ondelete="CASCADE"), nullable=False, index=True),
    Column("role_id", Id, nullable=False),
    Column("inviter_id", Id, ForeignKey(accounts.c.account_id, ondelete="CASCADE"), nullable=False, index=True),
    Column("create_time", Moment, nullable=False),
    Column("expire_time", Moment, nullable=False),
    PrimaryKeyConstraint("team_id", "account_id"),
    ForeignKeyConstraint(["team_id", "role_id"], [team_roles.c.team_id, team_roles.c.role_id], ondelete="CASCADE"),
    Index("team_invitations_role_idx", "team_id", "role_id"),
    schema=SCHEMA,
)
