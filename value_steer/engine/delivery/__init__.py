"""How the tokens of a step leave the worker, and what goes with them.

``report``  what a worker tells the scheduler beside the tokens
``outbox``  tokens that are held until the head has judged them
``promise`` the same for an output that is on its way from the device
``lag``     the scheduler's message where it runs ahead of what the worker has decided
"""
