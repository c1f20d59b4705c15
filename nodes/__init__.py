"""All nodes of the pack: schemas and a little glue over `nodes.host` and `core`."""

from . import metrics, motion, noise, prompts, training, windows

NODES = [*motion.NODES, *windows.NODES, *prompts.NODES, *noise.NODES, *metrics.NODES, *training.NODES]

# The same classes, spelled out for tools that cannot run the pack; a test compares the two.
NODE_CLASS_MAPPINGS = {
    "ChoreoLoadMotionModule": motion.LoadMotionModule,
    "ChoreoLoadMotionLora": motion.LoadMotionLora,
    "ChoreoApplyDomainAdapter": motion.ApplyDomainAdapter,
    "ChoreoApplyMotionModule": motion.ApplyMotionModule,
    "ChoreoContextWindows": windows.ContextWindows,
    "ChoreoPromptSchedule": prompts.PromptSchedule,
    "ChoreoGaussianNoisePrior": noise.GaussianNoisePrior,
    "ChoreoNoiseLayout": noise.NoiseLayoutNode,
    "ChoreoNoiseToLatent": noise.NoiseToLatent,
    "ChoreoNoisePriorKSampler": noise.NoisePriorKSampler,
    "ChoreoEmptyVideoLatent": noise.EmptyVideoLatent,
    "ChoreoVideoMetrics": metrics.VideoMetrics,
    "ChoreoSpriteWorld": training.SpriteWorld,
    "ChoreoTrainMotionModule": training.TrainMotionModule,
}
