"""Operations on the wire."""
