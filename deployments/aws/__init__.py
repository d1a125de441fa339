"""ECS, ECR and SageMaker."""
