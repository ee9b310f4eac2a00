"""What a mask means, in hectares and millilitres."""
