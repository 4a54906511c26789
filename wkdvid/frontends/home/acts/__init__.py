"""The pages on which datasets are added, edited, reloaded and removed, and long work is begun and watched."""
