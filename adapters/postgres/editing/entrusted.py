"""Which proposed edits an account may decide on because of its teams: where edits, credits and teams meet."""

from __future__ import annotations

from sqlalchemy import text

from adapters.postgres.editing.tables import change_sets
from adapters.postgres.statement import Statement
from domain.accounts.teams import TeamPermission
from domain.editing.model import Action, State

_COLUMNS = ", ".join(f"change_sets.{column.name}" for column in change_sets.c)
# An edit that is not of these fields alone, or not of what a team of the account's is credited for that lets it review.
_BEYOND = f"""
    EXISTS (
        SELECT FROM jsonb_array_elements(change_sets.edits) AS edits (edit)
        CROSS JOIN LATERAL (
            SELECT CASE edit ->> 'kind'
                WHEN 'release' THEN CAST(edit ->> 'item_id' AS uuid)
                WHEN 'episode' THEN (SELECT release_id FROM catalog.episodes WHERE episode_id = CAST(edit ->> 'item_id' AS uuid))
                WHEN 'schedule_entry' THEN (
                    SELECT release_id FROM catalog.schedule_entries WHERE schedule_entry_id = CAST(edit ->> 'item_id' AS uuid)
                )
            END AS release_id
        ) AS wholes
        WHERE CAST(edit ->> 'action' AS integer) <> {Action.UPDATE.value}
            OR NOT coalesce(
                (CAST(:entrusted AS jsonb) -> (edit ->> 'kind')) @> jsonb_path_query_array(edit -> 'changes', '$.keyvalue().key'),
                false
            )
            OR NOT EXISTS (
                SELECT FROM catalog.releases
                JOIN accounts.team_members ON team_members.account_id = CAST(:account_id AS uuid)
                JOIN accounts.team_roles
                    ON team_roles.team_id = team_members.team_id AND team_roles.role_id = team_members.role_id
                    AND {TeamPermission.REVIEW.value} = ANY (team_roles.permissions)
                WHERE releases.release_id = wholes.release_id AND releases.delete_time IS NULL
                    AND releases.credits @> jsonb_build_array(jsonb_build_object('team_id', team_members.team_id))
            )
    )
"""  # noqa: S608 - constants

IS_ENTRUSTED = Statement(
    text(
        f"""
        SELECT change_sets.edits <> '[]' AND NOT {_BEYOND} FROM editing.change_sets WHERE change_set_id = :change_set_id
        """  # noqa: S608 - constants
    )
)
# Without fields that the account is entrusted with, it decides on all.
REVIEWABLE = Statement(
    text(
        f"""
        SELECT {_COLUMNS} FROM editing.change_sets
        WHERE change_sets.author_id <> CAST(:author_id AS text)
            AND (
                change_sets.state = {State.SUBMITTED.value}
                OR (change_sets.state = {State.TAKEN.value} AND change_sets.reviewer_id = CAST(:author_id AS text))
            )
            AND (
                CAST(:after_time AS timestamptz) IS NULL
                OR (change_sets.update_time, change_sets.change_set_id)
                    < (CAST(:after_time AS timestamptz), CAST(:after_id AS uuid))
            )
            AND (CAST(:entrusted AS jsonb) IS NULL OR NOT {_BEYOND})
        ORDER BY change_sets.update_time DESC, change_sets.change_set_id DESC LIMIT :limit
        """  # noqa: S608 - constants
    )
)
