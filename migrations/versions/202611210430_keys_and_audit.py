"""keys and audit: API keys, and the chain of the audit log."""

from __future__ import annotations

from alembic import op

revision = "202611210430"
down_revision = "202611210420"

STATEMENTS: tuple[str, ...] = (
    """
    ALTER TABLE platform.audit_log
        ADD COLUMN key_id text NOT NULL DEFAULT '',
        ADD COLUMN subject text NOT NULL DEFAULT '',
        ADD COLUMN changes jsonb NOT NULL DEFAULT '{}',
        ADD COLUMN chain_number bigint,
        ADD COLUMN previous_hash bytea,
        ADD COLUMN hash bytea
    """,
    "CREATE UNIQUE INDEX audit_log_chain_number_idx ON platform.audit_log (chain_number)",
    "CREATE INDEX audit_log_unchained_idx ON platform.audit_log (entry_id) WHERE chain_number IS NULL",
    "CREATE INDEX audit_log_method_idx ON platform.audit_log (method, time)",
    "CREATE INDEX audit_log_request_id_idx ON platform.audit_log (request_id)",
    "CREATE INDEX audit_log_subject_idx ON platform.audit_log (subject, time) WHERE subject <> ''",
    # An entry is written once, and its place in the chain once after that. Nothing else is ever done to it.
    """
    CREATE FUNCTION platform.keep_audit_log() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        chaining text[] = ARRAY['chain_number', 'previous_hash', 'hash'];
    BEGIN
        IF TG_OP = 'INSERT' AND NEW.chain_number IS NULL AND NEW.hash IS NULL AND NEW.previous_hash IS NULL THEN
            RETURN NEW;
        END IF;
        IF TG_OP = 'UPDATE' AND OLD.chain_number IS NULL AND NEW.chain_number IS NOT NULL
            AND NEW.hash IS NOT NULL AND NEW.previous_hash IS NOT NULL
            AND to_jsonb(OLD) - chaining = to_jsonb(NEW) - chaining THEN
            RETURN NEW;
        END IF;
        RAISE EXCEPTION 'the audit log is only ever added to' USING ERRCODE = 'insufficient_privilege';
    END
    $$
    """,
    """
    CREATE TRIGGER keep_audit_log BEFORE INSERT OR UPDATE OR DELETE ON platform.audit_log
    FOR EACH ROW EXECUTE FUNCTION platform.keep_audit_log()
    """,
    """
    CREATE TRIGGER keep_whole_audit_log BEFORE TRUNCATE ON platform.audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION platform.keep_audit_log()
    """,
    """
    CREATE TABLE accounts.api_keys (
        key_id uuid PRIMARY KEY,
        account_id uuid NOT NULL REFERENCES accounts.accounts ON DELETE CASCADE,
        name text NOT NULL,
        hint text NOT NULL,
        key_hash bytea NOT NULL,
        scopes text[] NOT NULL,
        sealed_secret text,
        create_time timestamptz NOT NULL,
        expire_time timestamptz NOT NULL,
        use_time timestamptz,
        revoke_time timestamptz
    )
    """,
    "CREATE UNIQUE INDEX api_keys_key_hash_idx ON accounts.api_keys (key_hash)",
    "CREATE INDEX api_keys_account_id_idx ON accounts.api_keys (account_id, create_time)",
    "CREATE INDEX accounts_create_time_idx ON accounts.accounts (create_time, account_id)",
)
REVERSED: tuple[str, ...] = (
    "DROP INDEX accounts.accounts_create_time_idx",
    "DROP TABLE accounts.api_keys",
    "DROP TRIGGER keep_whole_audit_log ON platform.audit_log",
    "DROP TRIGGER keep_audit_log ON platform.audit_log",
    "DROP FUNCTION platform.keep_audit_log",
    "DROP INDEX platform.audit_log_subject_idx",
    "DROP INDEX platform.audit_log_request_id_idx",
    "DROP INDEX platform.audit_log_method_idx",
    """
    ALTER TABLE platform.audit_log
        DROP COLUMN key_id,
        DROP COLUMN subject,
        DROP COLUMN changes,
        DROP COLUMN chain_number,
        DROP COLUMN previous_hash,
        DROP COLUMN hash
    """,
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for statement in REVERSED:
        op.execute(statement)
