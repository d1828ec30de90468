"""Queries and answers about seals and proofs (ledger page, sections 9 and 12)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from blueprints.fields import Answer, Cursor, Limit, Maybe, Model

Size = Annotated[int, Field(ge=1, le=2**53 - 1)]
Note = Annotated[
    str,
    Field(
        description="A signed note (c2sp.org/signed-note): origin, size and root, and signatures.",
        examples=["pay.example.com/default\n12\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"],
    ),
]
Hash = Annotated[
    str,
    Field(
        description="SHA-256 in base64.", examples=["CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="]
    ),
]
Hashes = Annotated[list[Hash], Field(description="The proof, as in RFC 9162, section 2.1.")]


class CheckpointQuery(Model):
    """Which checkpoint."""

    tree_size: Annotated[
        Maybe[Size], Field(description="Of the tree of so many leaves; left out: the newest.")
    ] = None


class CheckpointsQuery(Model):
    """Which page."""

    limit: Limit = 50
    cursor: Maybe[Cursor] = None


class ConsistencyQuery(Model):
    """Between which checkpoints."""

    from_: Annotated[Size, Field(alias="from", description="Size of the earlier tree.")]
    to: Annotated[
        Maybe[Size], Field(description="Size of the later tree; left out: the newest.")
    ] = None


class CheckpointAnswer(Answer):
    """A checkpoint: the tree of the first `tree_size` transactions has this root."""

    tree_size: int
    root: Hash
    sealed_through: Annotated[
        datetime, Field(description="All that was posted until then is in the tree.")
    ]
    created_at: datetime
    checkpoint: Note


class CheckpointsAnswer(Answer):
    """A page of checkpoints, newest first."""

    data: list[CheckpointAnswer]
    next_cursor: str | None


class SealKeyAnswer(Answer):
    """A public key (Ed25519), in the form `name+id+base64` that signed notes have."""

    checkpoint_key: Annotated[str, Field(description="Checks checkpoints.")]
    receipt_key: Annotated[str, Field(description="Checks receipts: the same key, another name.")]
    valid_from: datetime
    valid_until: Annotated[datetime | None, Field(description="Null: it signs still.")]


class SealKeysAnswer(Answer):
    """Every key that has signed."""

    data: list[SealKeyAnswer]


class ProofAnswer(Answer):
    """A proof that a transaction is in the tree of a checkpoint."""

    leaf: Annotated[
        dict[str, Any],
        Field(
            description="The transaction; its canonical text (RFC 8785) is what is hashed.",
            json_schema_extra={"additionalProperties": True},
        ),
    ]
    leaf_hash: Hash
    index: Annotated[int, Field(description="Its place in the tree, from 0.")]
    tree_size: int
    hashes: Hashes
    checkpoint: Note


class ConsistencyAnswer(Answer):
    """A proof that the later tree begins as the earlier one."""

    from_size: Annotated[int, Field(description="Of the earlier tree.")]
    to_size: Annotated[int, Field(description="Of the later tree.")]
    hashes: Hashes
    checkpoints: Annotated[list[Note], Field(description="Of the earlier tree and of the later.")]
