"""Whether a head's calibration still holds on recorded traffic, and a new one from it.

``recorded``  the files that servers wrote, as one head saw the answers
``drift``     whether the head would act as often as it was calibrated to
``labels``    labels of recorded answers, joined by the ids of their requests
``renewal``   trajectories and curves from them
"""
