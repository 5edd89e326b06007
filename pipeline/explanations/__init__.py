"""Where the winner looks: heat maps on test images, and whether they depend on what it has learnt."""
