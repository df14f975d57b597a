"""The way in to accounts, profiles and teams."""
