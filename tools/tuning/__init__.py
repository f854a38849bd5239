"""Search for the fastest of the settings that don't change what is learned."""
