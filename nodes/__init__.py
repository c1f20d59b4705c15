"""All nodes of the pack: schemas and a little glue over `nodes.host` and `core`."""

from . import control, feedback, fusion, keyframes, metrics, motion, noise, prompts, training, windows

NODES = [
    *motion.NODES,
    *windows.NODES,
    *prompts.NODES,
    *keyframes.NODES,
    *control.NODES,
    *fusion.NODES,
    *feedback.NODES,
    *noise.NODES,
    *metrics.NODES,
    *training.NODES,
]

# The same classes, spelled out for tools that cannot run the pack; a test compares the two.
NODE_CLASS_MAPPINGS = {
    "ChoreoLoadMotionModule": motion.LoadMotionModule,
    "ChoreoLoadMotionLora": motion.LoadMotionLora,
    "ChoreoApplyDomainAdapter": motion.ApplyDomainAdapter,
    "ChoreoApplyMotionModule": motion.ApplyMotionModule,
    "ChoreoContextWindows": windows.ContextWindows,
    "ChoreoPromptSchedule": prompts.PromptSchedule,
    "ChoreoKeyframe": keyframes.KeyframeNode,
    "ChoreoKeyframesFromBatch": keyframes.KeyframesFromBatch,
    "ChoreoKeyframesToLatents": keyframes.KeyframesToLatents,
    "ChoreoKeyframeGuidance": keyframes.KeyframeGuidance,
    "ChoreoLoadVideoControlNet": control.LoadVideoControlNet,
    "ChoreoApplyImageControlNet": control.ApplyImageControlNet,
    "ChoreoFuseFrames": fusion.FuseFrames,
    "ChoreoInterpolateKeyframes": fusion.InterpolateKeyframes,
    "ChoreoDeflickerVideo": fusion.DeflickerVideo,
    "ChoreoFlowRating": fusion.FlowRatingNode,
    "ChoreoFusionFeedback": feedback.FusionFeedback,
    "ChoreoGaussianNoisePrior": noise.GaussianNoisePrior,
    "ChoreoNoiseLayout": noise.NoiseLayoutNode,
    "ChoreoNoiseToLatent": noise.NoiseToLatent,
    "ChoreoNoisePriorKSampler": noise.NoisePriorKSampler,
    "ChoreoEmptyVideoLatent": noise.EmptyVideoLatent,
    "ChoreoVideoMetrics": metrics.VideoMetrics,
    "ChoreoSpriteWorld": training.SpriteWorld,
    "ChoreoTrainMotionModule": training.TrainMotionModule,
}
