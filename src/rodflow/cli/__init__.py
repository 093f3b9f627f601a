"""The command `rodflow`: its commands for people, the stages that the workflow calls, and what both share."""
