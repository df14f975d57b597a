"""teams: teams, their roles and members."""

from __future__ import annotations

from alembic import op

revision = "202611210420"
down_revision = "202611210410"

STATEMENTS: tuple[str, ...] = (
    """
    CREATE TABLE accounts.teams (
        team_id uuid PRIMARY KEY,
        name text NOT NULL,
        name_key text NOT NULL,
        description text NOT NULL,
        website_url text NOT NULL,
        languages text[] NOT NULL,
        version bigint NOT NULL,
        create_time timestamptz NOT NULL,
        update_time timestamptz NOT NULL,
        delete_time timestamptz
    )
    """,
    "CREATE UNIQUE INDEX teams_name_key_idx ON accounts.teams (name_key)",
    """
    CREATE TABLE accounts.team_roles (
        team_id uuid NOT NULL REFERENCES accounts.teams (team_id) ON DELETE CASCADE,
        role_id uuid NOT NULL,
        name text NOT NULL,
        name_key text NOT NULL,
        weight smallint NOT NULL,
        permissions smallint[] NOT NULL,
        PRIMARY KEY (team_id, role_id)
    )
    """,
    "CREATE UNIQUE INDEX team_roles_name_key_idx ON accounts.team_roles (team_id, name_key)",
    """
    CREATE TABLE accounts.team_members (
        team_id uuid NOT NULL,
        account_id uuid NOT NULL REFERENCES accounts.accounts (account_id) ON DELETE CASCADE,
        role_id uuid NOT NULL,
        nickname text NOT NULL,
        duties smallint[] NOT NULL,
        intern boolean NOT NULL,
        vacation boolean NOT NULL,
        join_time timestamptz NOT NULL,
        number bigint GENERATED ALWAYS AS IDENTITY,
        PRIMARY KEY (team_id, account_id),
        CONSTRAINT team_members_team_id_fkey FOREIGN KEY (team_id, role_id) REFERENCES accounts.team_roles (team_id, role_id)
    )
    """,
    "CREATE INDEX team_members_account_id_idx ON accounts.team_members (account_id)",
    "CREATE INDEX team_members_role_idx ON accounts.team_members (team_id, role_id)",
    """
    CREATE TABLE accounts.team_invitations (
        team_id uuid NOT NULL,
        account_id uuid NOT NULL REFERENCES accounts.accounts (account_id) ON DELETE CASCADE,
        role_id uuid NOT NULL,
        inviter_id uuid NOT NULL REFERENCES accounts.accounts (account_id) ON DELETE CASCADE,
        create_time timestamptz NOT NULL,
        expire_time timestamptz NOT NULL,
        PRIMARY KEY (team_id, account_id),
        CONSTRAINT team_invitations_team_id_fkey
            FOREIGN KEY (team_id, role_id) REFERENCES accounts.team_roles (team_id, role_id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX team_invitations_account_id_idx ON accounts.team_invitations (account_id)",
    "CREATE INDEX team_invitations_inviter_id_idx ON accounts.team_invitations (inviter_id)",
    "CREATE INDEX team_invitations_role_idx ON accounts.team_invitations (team_id, role_id)",
)
REVERSED: tuple[str, ...] = tuple(
    f"DROP TABLE accounts.{table}" for table in ("team_invitations", "team_members", "team_roles", "teams")
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for statement in REVERSED:
        op.execute(statement)
